"""What turns `book/*.md` into executed notebooks, nbval references and pages."""
