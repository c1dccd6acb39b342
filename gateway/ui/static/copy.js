// A click on a short digest copies the whole one.
"use strict";
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1200);
  } catch {
    // No clipboard here (plain http): the whole digest is marked instead, so that the keyboard can copy it.
    button.textContent = button.dataset.copy;
    getSelection().selectAllChildren(button);
  }
});
