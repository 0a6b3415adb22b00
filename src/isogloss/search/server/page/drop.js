// Files dropped on the page.

/** Files may be dropped anywhere on the page; the panel shows that it takes them. */
export function mountDrop(panel, takeFile) {
  let inside = 0;
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  const show = () => panel.classList.toggle("dropping", inside > 0);
  document.addEventListener("dragenter", (event) => {
    if (!carries(event)) return;
    inside += 1;
    show();
  });
  document.addEventListener("dragleave", (event) => {
    if (!carries(event)) return;
    inside = Math.max(0, inside - 1);
    show();
  });
  document.addEventListener("dragover", (event) => {
    if (carries(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    inside = 0;
    show();
    takeFile(event.dataTransfer.files[0]);
  });
}
