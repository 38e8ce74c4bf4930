// Fetches the page again every 15 seconds while it is looked at, and says so when the server does not answer.
(() => {
  const every = 15000;
  const lost = document.getElementById("lost");
  const refresh = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (!answer.ok || !answer.headers.get("content-type")?.startsWith("text/html")) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const { id } of document.querySelectorAll("details[open][id]")) page.getElementById(id)?.setAttribute("open", "");
      document.querySelector("main").replaceWith(page.querySelector("main"));
      document.title = page.title;
      lost.hidden = true;
    } catch {
      lost.hidden = false;
    }
  };
  setInterval(refresh, every);
  document.addEventListener("visibilitychange", refresh);
})();
