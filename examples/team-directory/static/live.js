// Asks every second for the rows, if something changed. The server escapes them.
const members = document.getElementById("members");

async function refresh() {
  try {
    const seen = encodeURIComponent(members.dataset.version);
    const response = await fetch(`${members.dataset.url}?seen=${seen}`, { redirect: "manual" });
    // The session ended, or the tables are too old. The page says which.
    if (response.type === "opaqueredirect" || response.status === 503) return location.reload();
    if (response.status === 200) {
      members.innerHTML = await response.text();
      members.dataset.version = response.headers.get("Version");
    }
  } catch {
    // The server cannot be reached. The next second is another try.
  }
  setTimeout(refresh, 1000);
}

setTimeout(refresh, 1000);
