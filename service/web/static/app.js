"use strict";
(() => {
  const at = id => document.getElementById(id);
  const count = n => n.toLocaleString("en");
  const keptAs = "slotferry-token";

  const say = (text, bad = false) => {
    at("said").textContent = text;
    at("said").classList.toggle("bad", bad);
  };

  // The token is asked for where it is needed, once.
  let asking = null;
  const askForToken = wrong => asking ||= new Promise(done => {
    const dialog = at("ask");
    at("token").value = "";
    at("ask-wrong").textContent = wrong || "";
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      asking = null;
      const token = dialog.returnValue === "yes" ? at("token").value.trim() : "";
      if (token) sessionStorage.setItem(keptAs, token);
      at("token").value = "";
      done(token !== "");
    }, { once: true });
    dialog.showModal();
  });
  at("ask").querySelector("[value=no]").addEventListener("click", () => at("ask").close("no"));

  // request asks again with another token when the one it has is refused. It
  // returns null if there is none.
  const request = async (url, options = {}, needed = document.body.dataset.token === "look") => {
    let wrong = "";
    for (;;) {
      if (needed && !sessionStorage.getItem(keptAs) && !await askForToken(wrong)) return null;
      const token = sessionStorage.getItem(keptAs);
      const headers = { ...options.headers };
      if (token) headers.Authorization = "Bearer " + token;
      const answer = await fetch(url, { ...options, headers, cache: "no-store" });
      if (answer.status !== 401) return answer;
      sessionStorage.removeItem(keptAs);
      wrong = token ? "That token is wrong." : "";
      needed = true;
    }
  };
  const faultOf = async answer => {
    try {
      return (await answer.json()).error.message;
    } catch {
      return "the service answers with " + answer.status;
    }
  };

  // The page that the service makes is the only one that knows how things are
  // written. What differs in it is taken over, so that focus, scrolling and
  // selection stay where they are.
  const morph = (from, to) => {
    if (from.nodeName !== to.nodeName || from.id !== to.id) {
      from.replaceWith(to);
      return;
    }
    if (from.nodeType !== Node.ELEMENT_NODE) {
      if (from.data !== to.data) from.data = to.data;
      return;
    }
    if (from.hasAttribute("data-keep")) return;
    for (const { name } of [...from.attributes]) if (!to.hasAttribute(name)) from.removeAttribute(name);
    for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    const mine = [...from.childNodes], theirs = [...to.childNodes];
    theirs.forEach((node, i) => i < mine.length ? morph(mine[i], node) : from.append(node));
    mine.slice(theirs.length).forEach(node => node.remove());
  };
  const localTimes = root => {
    for (const t of root.querySelectorAll("time")) {
      const when = new Date(t.dateTime);
      const today = when.toDateString() === new Date().toDateString();
      t.title = when.toLocaleString();
      t.textContent = today ? "today, " + when.toLocaleTimeString([], { timeStyle: "medium" })
        : when.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    }
  };

  let refreshing = false, again = false;
  const refresh = async () => {
    if (refreshing) {
      again = true;
      return;
    }
    refreshing = true;
    try {
      do {
        again = false;
        const answer = await request(location.href);
        if (!answer) return;
        if (!answer.ok) {
          say(await faultOf(answer), true);
          return;
        }
        const next = new DOMParser().parseFromString(await answer.text(), "text/html");
        localTimes(next);
        document.title = next.title;
        morph(at("view"), next.getElementById("view"));
        await heat();
      } while (again);
    } finally {
      refreshing = false;
    }
  };

  // The map of slots, of the run that is going on. It stays when that has ended.
  const side = 128, shades = 6;
  let slots = null, heatAt = 0;
  const heat = async () => {
    const section = document.querySelector(".job");
    if (!section || section.dataset.live !== "true" || Date.now() - heatAt < 3000) return;
    heatAt = Date.now();
    const answer = await request("/api/v1/jobs/" + encodeURIComponent(section.dataset.job));
    const run = answer && answer.ok && (await answer.json()).current;
    if (!run || !run.slots) return;
    slots = run.slots;
    at("map-of").textContent = `Run ${run.run}, keys by slot: 1`;
    draw();
  };
  const draw = () => {
    if (!slots || !at("map")) return;
    const style = getComputedStyle(document.documentElement);
    const most = slots.reduce((a, b) => Math.max(a, b), 0);
    const canvas = at("map").getContext("2d");
    canvas.clearRect(0, 0, side, side);
    for (let shade = 1; shade <= shades; shade++) {
      canvas.fillStyle = style.getPropertyValue("--s" + shade);
      for (let slot = 0; slot < slots.length; slot++) {
        if (shadeOf(slots[slot], most) === shade) canvas.fillRect(slot % side, Math.floor(slot / side), 1, 1);
      }
    }
    at("map-most").textContent = count(most);
    at("heat-none").hidden = true;
    at("heat-some").hidden = false;
    showSlot();
  };
  // By the logarithm, so that one very full slot does not make all others look
  // alike.
  const shadeOf = (n, most) => n <= 0 ? 0 : most <= 1 ? shades : 1 + Math.round(Math.log(n) / Math.log(most) * (shades - 1));
  const showSlot = () => {
    const slot = at("slot").valueAsNumber;
    at("slot-info").textContent = slots && slot >= 0 && slot < slots.length
      ? `${count(slots[slot])} ${slots[slot] === 1 ? "key" : "keys"} written` : "";
  };
  document.addEventListener("input", e => e.target.id === "slot" && showSlot());
  document.addEventListener("pointermove", e => {
    if (e.target.id !== "map" || !slots) return;
    const box = e.target.getBoundingClientRect();
    const cell = (n, length) => Math.min(side - 1, Math.max(0, Math.floor(n / length * side)));
    at("slot").value = cell(e.clientY - box.top, box.height) * side + cell(e.clientX - box.left, box.width);
    showSlot();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  // Orders are given after a question. A dialog tells later that it was closed,
  // perhaps when it is open again.
  let settle = () => {};
  const confirmed = button => new Promise(done => {
    settle(false);
    settle = done;
    at("confirm-title").textContent = `${button.textContent} ${button.closest(".job").dataset.job}?`;
    at("confirm-text").textContent = button.dataset.ask;
    at("confirm").querySelector("[value=yes]").textContent = button.textContent;
    at("confirm").returnValue = "";
    at("confirm").showModal();
  });
  at("confirm").addEventListener("close", e => e.target.open || settle(e.target.returnValue === "yes"));
  for (const button of at("confirm").querySelectorAll("button")) {
    button.addEventListener("click", () => at("confirm").close(button.value));
  }
  document.addEventListener("click", async e => {
    const button = e.target.closest("button[data-order]");
    if (!button || button.getAttribute("aria-disabled") === "true") return;
    const { order } = button.dataset, { job } = button.closest(".job").dataset;
    if (!await confirmed(button)) return;
    try {
      const answer = await request(`/api/v1/jobs/${encodeURIComponent(job)}/${order}`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: "{}",
      }, document.body.dataset.token !== "nothing");
      if (!answer) say("Without the token nothing can be changed.", true);
      else if (answer.ok) say(`${job} is ${(await answer.json()).state}`);
      else say(await faultOf(answer), true);
      await refresh();
    } catch {
      say("The service can't be reached.", true);
    }
  });

  // Changes arrive as a stream. It is read by fetch, as an EventSource can't
  // send the token.
  const link = (state, text) => {
    if (at("link").dataset.link === state) return;
    at("link").dataset.link = state;
    at("link").textContent = text;
  };
  const states = new Map();
  const changed = jobs => {
    const news = [];
    for (const job of jobs) {
      const before = states.get(job.name);
      if (before && before !== job.state) news.push(`${job.name} is ${job.state}`);
      states.set(job.name, job.state);
    }
    if (news.length) say(news.join(", "));
    refresh().catch(() => link("lost", "connection lost, trying again"));
  };
  const read = async signal => {
    const answer = await request("/api/v1/events", { signal });
    if (!answer) return false;
    if (!answer.ok) throw new Error(await faultOf(answer));
    link("on", "live");
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = "";;) {
      const { value, done } = await reader.read();
      if (done) return true;
      const events = (text + value).split("\n\n");
      text = events.pop();
      for (const event of events) {
        const data = event.split("\n").find(line => line.startsWith("data: "));
        if (data) changed(JSON.parse(data.slice(6)).jobs);
      }
    }
  };

  const sleep = ms => new Promise(done => setTimeout(done, ms));
  let abort = null;
  const listen = async () => {
    const mine = abort = new AbortController();
    for (let pause = 500; !mine.signal.aborted; pause = Math.min(pause * 2, 15000)) {
      const began = Date.now();
      try {
        if (!await read(mine.signal)) {
          link("off", "not live");
          return;
        }
      } catch {
        // Told below.
      }
      if (mine.signal.aborted) return;
      link("lost", "connection lost, trying again");
      if (Date.now() - began > 10000) pause = 500;
      await sleep(pause);
    }
  };
  // A browser has few connections to a service, and a page that nobody sees
  // needs none.
  document.addEventListener("visibilitychange", () => {
    if (abort) abort.abort();
    if (document.hidden) link("off", "not live");
    else listen();
  });

  document.addEventListener("click", e => e.target.id === "enter" && listen());

  localTimes(document);
  if (!document.hidden) listen();
})();
