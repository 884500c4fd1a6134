"use strict";
// Pages work without this. It copies, fills in files, and renews what is marked as live.

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy).textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // without TLS browsers have no clipboard: the text is chosen, for the keyboard
    getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
    if (!document.execCommand("copy")) return;
  }
  const before = button.textContent;
  button.textContent = button.dataset.done;
  setTimeout(() => { button.textContent = before; }, 2000);
});

document.addEventListener("change", async (event) => {
  const input = event.target;
  if (input.dataset.into && input.files.length) {
    document.getElementById(input.dataset.into).value = await input.files[0].text();
  }
  if (input.dataset.all) {
    for (const box of document.querySelectorAll(`input[name="${input.dataset.all}"]`)) box.checked = input.checked;
  }
});

function reveal(part) {
  for (const each of part.querySelectorAll("[data-script]")) each.hidden = false;
}
reveal(document);

const live = document.querySelector("[data-live]");
async function renew() {
  const old = document.getElementById(live.id);
  const chosen = old.querySelector("input:checked") || old.contains(document.activeElement);
  if (!document.hidden && !chosen) {
    try {
      const answer = await fetch(location.href, { headers: { "Postroad-Live": "1" } });
      if (answer.redirected) return location.reload();
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById(live.id);
      if (!answer.ok || !fresh) return setTimeout(renew, 10000);
      for (const each of old.querySelectorAll("details[open][id]")) {
        const same = fresh.querySelector(`#${CSS.escape(each.id)}`);
        if (same) same.open = true;
      }
      reveal(fresh);
      old.replaceWith(document.adoptNode(fresh));
      if (!fresh.dataset.live) return;
    } catch {
      // the relay is away for a moment
    }
  }
  setTimeout(renew, 1000 * old.dataset.live);
}
if (live) setTimeout(renew, 1000 * live.dataset.live);
