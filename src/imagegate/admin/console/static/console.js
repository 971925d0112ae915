// Small things that every page can do without: filters that apply at once, and a menu that is closed on narrow screens.
"use strict";
for (const form of document.querySelectorAll("form[data-auto]")) {
  form.addEventListener("change", () => form.requestSubmit());
  form.addEventListener("submit", () => {
    for (const field of form.elements) if (field.name && field.value === "") field.disabled = true;
  });
}
addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll("form[data-auto] :disabled")) field.disabled = false;
});
if (matchMedia("(max-width: 800px)").matches) {
  for (const menu of document.querySelectorAll("details.menu")) menu.open = false;
}
