"use strict";
// What a mark carries in data-tip is shown beside the pointer; everything else on the page works without scripts.
const box = document.createElement("div");
box.className = "tip";
box.hidden = true;
box.setAttribute("aria-hidden", "true");
document.body.append(box);
function place(event) {
  const mark = event.target.closest && event.target.closest("[data-tip]");
  box.hidden = !mark;
  if (!mark) return;
  box.textContent = mark.dataset.tip;
  const { width, height } = box.getBoundingClientRect();
  const left = event.clientX + 14 + width > innerWidth ? event.clientX - 14 - width : event.clientX + 14;
  const top = event.clientY + 14 + height > innerHeight ? event.clientY - 14 - height : event.clientY + 14;
  box.style.left = Math.max(4, Math.min(left, innerWidth - width - 4)) + "px";
  box.style.top = Math.max(4, top) + "px";
}
document.addEventListener("pointermove", place);
document.addEventListener("pointerdown", place);
document.addEventListener("scroll", () => { box.hidden = true; }, { capture: true, passive: true });

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    const say = (text) => { button.textContent = text; setTimeout(() => { button.textContent = "Copy"; }, 1500); };
    try {
      await navigator.clipboard.writeText(code.textContent);
      say("Copied");
    } catch {
      // Without access to the clipboard the text is selected, one keystroke away from being copied.
      getSelection().selectAllChildren(code);
      say("Selected");
    }
  });
}

for (const menu of document.querySelectorAll(".chooser > .menu")) {
  const groups = menu.parentElement.querySelectorAll(".choice");
  const choose = menu.querySelector("select");
  const show = () => groups.forEach((group, index) => { group.hidden = index !== Number(choose.value); });
  menu.hidden = groups.length < 2;
  choose.addEventListener("change", show);
  // A page that is shown again keeps what was chosen.
  show();
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const sign = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value;
    const compare = (a, b) => {
      const x = value(a), y = value(b);
      // What has no value comes last in either direction.
      if (x === "" || y === "") return (x === "") - (y === "");
      const difference = Number(x) - Number(y);
      return sign * (Number.isNaN(difference) ? x.localeCompare(y) : difference);
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  }));
}
