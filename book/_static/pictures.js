// A wide picture that scrolls sideways can be reached by keys, and says so; one that fits is no stop.
(() => {
  const update = ({ target }) => {
    const scrolls = target.scrollWidth > target.clientWidth + 1;
    const names = { tabindex: "0", role: "group", "aria-label": "picture, scrolls sideways" };
    for (const [name, value] of Object.entries(names)) {
      if (scrolls) target.setAttribute(name, value);
      else target.removeAttribute(name);
    }
  };
  const observer = new ResizeObserver((entries) => entries.forEach(update));
  document.querySelectorAll(".wide-picture").forEach((box) => observer.observe(box));
})();
