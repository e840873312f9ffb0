// Before anything is painted: the colours that this viewer chose, if any.
const chosen = localStorage.getItem("nordiq-theme");
if (chosen) document.documentElement.dataset.theme = chosen;
