// Filters of the page of claims. Within a group one pressed button is enough, every group and every
// word must fit; the numbers on the buttons say how many claims each would leave or add.
(() => {
  const form = document.querySelector("form.claim-filters");
  const cards = [...document.querySelectorAll("article.claim")];
  const buttons = [...form.querySelectorAll("button[data-kind]")];
  const box = form.querySelector("input");
  const texts = new Map(cards.map((card) => [card, card.textContent.toLowerCase()]));

  const isPressed = (button) => button.getAttribute("aria-pressed") === "true";
  const press = (button, on) => button.setAttribute("aria-pressed", String(on));

  const fits = (card, kind) => {
    const chosen = buttons.filter((button) => button.dataset.kind === kind && isPressed(button));
    return !chosen.length || chosen.some((button) => button.value === card.dataset[kind]);
  };
  const hasWords = (card) =>
    box.value.toLowerCase().split(/\s+/).every((word) => texts.get(card).includes(word));

  const update = () => {
    const found = cards.filter(hasWords);
    const shown = found.filter((card) => fits(card, "verdict") && fits(card, "chapter"));
    cards.forEach((card) => { card.hidden = !shown.includes(card); });
    buttons.forEach((button) => {
      const { kind } = button.dataset;
      const other = kind === "verdict" ? "chapter" : "verdict";
      button.querySelector(".count").textContent = found.filter(
        (card) => card.dataset[kind] === button.value && fits(card, other),
      ).length;
    });
    form.querySelector("output").textContent = `${shown.length} of ${cards.length} claims`;
  };

  buttons.forEach((button) => button.addEventListener("click", () => {
    press(button, !isPressed(button));
    update();
  }));
  box.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    buttons.forEach((button) => press(button, false));
    box.value = "";
    update();
  });
  form.hidden = false;
  update(); // a browser that goes back keeps what was typed
})();
