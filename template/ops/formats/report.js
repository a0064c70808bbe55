"use strict";
// Sorts and filters the findings of a report. The data stands in the page as JSON; nothing is loaded, and text only ever
// becomes text: no HTML is made of it. Rows are drawn as they come into view, so that thousands cost what a hundred do.
(function () {
  const PAGE = 100;
  const byId = (name) => document.getElementById(name);
  const data = JSON.parse(byId("data").textContent);
  const table = byId("findings");
  const body = table.tBodies[0];
  const [SEVERITY, BY_SCORE, PACKAGE, INSTALLED, FIXED, VULNERABILITY, SCORE, STATE, NOTE, PLATFORM] = Array(10).keys();
  const states = ["fails", "", "known", "ignored"];
  const several = data.platforms.length > 1;
  const collator = new Intl.Collator("en", { numeric: true });

  const nameOf = (row) => data.vulnerabilities[row[VULNERABILITY]][0];
  const haystacks = data.rows.map((row) =>
    [nameOf(row), row[PACKAGE], row[INSTALLED], row[FIXED], row[NOTE], data.vulnerabilities[row[VULNERABILITY]][1]]
      .join("\n").toLowerCase());
  const columns = {
    severity: (a, b) => a[SEVERITY] - b[SEVERITY] || (a[SCORE] || 0) - (b[SCORE] || 0),
    package: (a, b) => collator.compare(a[PACKAGE], b[PACKAGE]),
    installed: (a, b) => collator.compare(a[INSTALLED], b[INSTALLED]),
    fixed: (a, b) => collator.compare(a[FIXED], b[FIXED]),
    vulnerability: (a, b) => collator.compare(nameOf(a), nameOf(b)),
    status: (a, b) => b[STATE] - a[STATE],
    platform: (a, b) => a[PLATFORM] - b[PLATFORM],
  };

  let order = data.rows.map((row, number) => number);
  let shown = order;
  let drawn = 0;

  function element(tag, text, name) {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  function cell(line, label, text, name) {
    const made = element("td", text, name);
    made.dataset.label = label;
    line.append(made);
    return made;
  }

  function draw(number) {
    const row = data.rows[number];
    const line = element("tr", "", row[STATE] ? "aside" : "");
    const severity = data.severities[row[SEVERITY]];
    const chip = element("span", severity + (row[BY_SCORE] ? "*" : ""), "chip " + severity.toLowerCase());
    if (row[BY_SCORE]) chip.title = "Clair knows no severity; the CVSS base score " + row[SCORE] + " decides";
    cell(line, "Severity", "").append(chip);
    cell(line, "Package", row[PACKAGE]);
    cell(line, "Installed", row[INSTALLED], "version");
    cell(line, "Fixed in", row[FIXED] || "\u2013", "version");
    const button = element("button", nameOf(row), "id");
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    button.dataset.row = number;
    cell(line, "Vulnerability", "").append(button);
    cell(line, "Status", states[row[STATE]], row[STATE] ? "" : "fails");
    if (several) cell(line, "Platform", data.platforms[row[PLATFORM]]);
    return line;
  }

  function more(number) {
    const row = data.rows[number];
    const [name, description, links] = data.vulnerabilities[row[VULNERABILITY]];
    const line = element("tr", "", "more");
    const place = line.insertCell();
    place.colSpan = several ? 7 : 6;
    if (row[NOTE]) place.append(element("p", row[NOTE]));
    place.append(element("p", description || "The feed describes " + name + " no further."));
    if (row[SCORE] !== null) place.append(element("p", "CVSS base score " + row[SCORE]));
    const list = element("ul");
    for (const link of links) {
      if (!/^https?:\/\//i.test(link)) continue;
      const anchor = element("a", link);
      anchor.href = link;
      anchor.rel = "noopener noreferrer";
      list.append(element("li"));
      list.lastChild.append(anchor);
    }
    if (list.childElementCount) place.append(list);
    return line;
  }

  function extend(number) {
    const part = document.createDocumentFragment();
    const end = Math.min(shown.length, drawn + number);
    for (; drawn < end; drawn++) part.append(draw(shown[drawn]));
    body.append(part);
    byId("all").hidden = drawn >= shown.length;
  }

  function refresh() {
    const words = byId("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const levels = new Set([...document.querySelectorAll("input[name=severity]:checked")].map((box) => Number(box.value)));
    const fixed = byId("fixed").checked;
    const failing = byId("failing").checked;
    const platform = several ? byId("platform").value : "";
    shown = order.filter((number) => {
      const row = data.rows[number];
      return levels.has(row[SEVERITY]) && (!fixed || row[FIXED] !== "") && (!failing || row[STATE] === 0) &&
        (platform === "" || row[PLATFORM] === Number(platform)) &&
        words.every((word) => haystacks[number].includes(word));
    });
    body.replaceChildren();
    drawn = 0;
    extend(PAGE);
    const total = data.rows.length;
    byId("shown").textContent = shown.length.toLocaleString("en") + " of " + total.toLocaleString("en") +
      (total === 1 ? " finding" : " findings");
  }

  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("th");
    if (!event.target.closest("button")) return;
    const down = head.getAttribute("aria-sort") === "ascending" || (!head.hasAttribute("aria-sort") && head.dataset.key === "severity");
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const compare = columns[head.dataset.key];
    const sign = down ? -1 : 1;
    // Equal ones keep the order in which the report lists them: the worst first.
    order = data.rows.map((row, number) => number).sort((a, b) => sign * compare(data.rows[a], data.rows[b]) || a - b);
    refresh();
  });

  body.addEventListener("click", (event) => {
    const button = event.target.closest("button.id");
    if (!button) return;
    const line = button.closest("tr");
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) line.nextSibling.remove();
    else line.after(more(Number(button.dataset.row)));
  });

  byId("controls").addEventListener("input", refresh);
  if (several) byId("platform").addEventListener("change", refresh);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("all").addEventListener("click", () => extend(shown.length));
  new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) extend(PAGE);
  }, { rootMargin: "800px" }).observe(byId("end"));
  // What is printed is the whole list as it is filtered.
  window.addEventListener("beforeprint", () => extend(shown.length));

  byId("controls").hidden = false;
  table.hidden = false;
  refresh();
})();
