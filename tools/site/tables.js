// The theme puts each table into a box, which scrolls if the table is wider than the page. A box that scrolls gets a tab
// stop here, so that it can be scrolled with the keyboard.
const updateTable = (box) => {
  if (box.scrollWidth > box.clientWidth) {
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Table that scrolls sideways");
  } else {
    for (const name of ["tabindex", "role", "aria-label"]) {
      box.removeAttribute(name);
    }
  }
};
const sizes = new ResizeObserver((entries) => entries.forEach((entry) => updateTable(entry.target)));
// Observing a box again has no effect.
const observeTables = () => document.querySelectorAll(".md-typeset__scrollwrap").forEach((box) => sizes.observe(box));
new MutationObserver(observeTables).observe(document.body, { childList: true, subtree: true });
observeTables();
