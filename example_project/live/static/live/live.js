// Follows the run's stream. A browser that was disconnected resumes after the last line it has seen.
const list = document.getElementById("progress");
const state = document.getElementById("state");
const source = new EventSource(list.dataset.source);
let packing = null;
let question = null;

function line(text) {
  const item = document.createElement("li");
  item.append(text);
  list.append(item);
  return item;
}

function approveButton(url) {
  const form = document.createElement("form");
  form.method = "post";
  form.action = url;
  form.target = "_blank";
  form.rel = "noopener";
  const button = document.createElement("button");
  button.append("Approve");
  form.append(button);
  return form;
}

function showPacking(value) {
  if (packing === null) {
    packing = document.createElement("progress");
    packing.max = 100;
    line(value.text).append(packing);
  }
  packing.value = value.percent;
}

source.onopen = () => (state.textContent = "Live.");
source.onerror = () => (state.textContent = "Connection lost; reconnecting …");
source.onmessage = (event) => {
  const value = JSON.parse(event.data);
  question?.remove(); // the order has moved on: it was answered
  if ("percent" in value) return showPacking(value);
  const item = line(value.text);
  if (value.approve) item.append((question = approveButton(value.approve)));
};
source.addEventListener("end", () => {
  source.close();
  state.textContent = "That was all.";
});
