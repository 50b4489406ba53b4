// What the server says: changes as they come, and answers. The token goes along in a header.

const PLACE = "rewind-token";
const SILENCE = 25000;

/** The token behind the address's #, which is taken out of the bar and kept for reloads of this tab. */
export function takeToken() {
  const said = location.hash.slice(1);
  if (/^[0-9a-f]+$/.test(said)) {
    sessionStorage.setItem(PLACE, said);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(PLACE) ?? "";
}

export class Server {
  constructor(token) {
    this.headers = { Authorization: `Bearer ${token}` };
  }

  /** The answer to a question about a run. */
  async ask(question, id) {
    const answer = await fetch(`api/${question}?id=${encodeURIComponent(id)}`, { headers: this.headers });
    const value = await answer.json();
    if (!answer.ok) throw new Error(value.error);
    return value;
  }

  /** Calls `heed` with all changes, for ever, and `say` with how the connection is and what is wrong. */
  async follow(heed, say) {
    let version = 0;
    for (let pause = 500; ; pause = Math.min(2 * pause, 10000)) {
      try {
        say("connecting");
        await this.listen(version, (changes) => {
          pause = 500;
          version = changes.version;
          heed(changes);
        }, say);
      } catch (error) {
        if (error.isRefused) return say("refused", error.message);
      }
      say("lost");
      await new Promise((done) => setTimeout(done, pause));
    }
  }

  async listen(version, heed, say) {
    const stop = new AbortController();
    let clock = 0;
    const wait = () => {
      clearTimeout(clock);
      clock = setTimeout(() => stop.abort(), SILENCE);
    };
    wait();
    try {
      const answer = await fetch(`api/changes?since=${version}`, { headers: this.headers, signal: stop.signal });
      if (!answer.ok) {
        const error = new Error((await answer.json()).error);
        error.isRefused = answer.status === 401 || answer.status === 421;
        throw error;
      }
      say("live");
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        wait();
        const parts = (rest + value).split("\n\n");
        rest = parts.pop();
        for (const part of parts) if (part.startsWith("data: ")) heed(JSON.parse(part.slice(6)));
      }
    } finally {
      clearTimeout(clock);
    }
  }
}
