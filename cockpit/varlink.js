// The daemon's interface: varlink over a channel of the bridge, so with the rights of whoever looks at the page.

// The socket of root and operators, which nobody else can keep busy, then that of all users.
const SOCKETS = ["/run/jobqueue/operators", "/run/jobqueue/control"];
const INTERFACE = "io.jobqueue.";
const PATIENCE = 10000;
const IDLE = 500;

// An error that the daemon answers with, or that the bridge has with the socket.
export class CallError extends Error {
  constructor(name, parameters = {}) {
    super(parameters.reason || name);
    this.name = name;
    this.parameters = parameters;
  }

  // The daemon can't be reached, as opposed to: it has refused.
  get isUnreachable() { return this.name === "unreachable"; }

  // The daemon has no such method.
  get isOld() { return ["MethodNotFound", "InterfaceNotFound"].includes(this.name.replace("org.varlink.service.", "")); }
}

// A connection: `onReply` gets each message, `onClose` the problem ("" where there is none).
function connect(onReply, onClose, [unix, ...others] = SOCKETS) {
  const channel = cockpit.channel({ payload: "stream", unix, superuser: "try", binary: true });
  const decoder = new TextDecoder(), sent = [];
  let begun = "", isOurs = false, next = null;
  channel.addEventListener("message", (_event, data) => {
    let begin = 0;
    for (let end; !isOurs && (end = data.indexOf(0, begin)) >= 0; begin = end + 1) {
      const text = begun + decoder.decode(data.subarray(begin, end));
      begun = "";
      onReply(JSON.parse(text));
    }
    begun += decoder.decode(data.subarray(begin), { stream: true });
  });
  channel.addEventListener("close", (_event, { problem, message }) => {
    if (isOurs) return;
    const refusal = refusalOf(problem, message);
    if (refusal && others.length) {
      next = connect(onReply, onClose, others);
      sent.forEach(next.send);
    } else {
      onClose(refusal || problem || "");
    }
  });
  return {
    send: message => {
      if (next) return next.send(message);
      sent.push(message);
      channel.send(new TextEncoder().encode(JSON.stringify(message) + "\0"));
    },
    close: () => {
      isOurs = true;
      channel.close();
      next?.close();
    },
  };
}

// Why nobody was connected, "" where somebody was: the bridge tells the number of the error, older ones its name.
function refusalOf(problem, message) {
  const [, number] = /^\[Errno (\d+)\]/.exec(message) ?? [];
  const name = { 2: "not-found", 13: "access-denied", 111: "not-found" }[number] ?? problem;
  return ["not-found", "access-denied"].includes(name) ? name : "";
}

function result(reply) {
  if (reply.error) throw new CallError(reply.error.replace(INTERFACE, ""), reply.parameters);
  return reply.parameters;
}

// Calls, one after the other, on one connection: a user has few, so it is there only while something is asked.
export class Client {
  #connection = null;
  #waiting = [];
  #timer = null;

  call(method, parameters = {}) {
    this.#connection ??= connect(reply => this.#take(reply), problem => this.#lose(problem));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#connection.send({ method: INTERFACE + method, parameters });
      this.#wait();
    });
  }

  // The next answer comes in so long, or never; where none is waited for, the connection goes.
  #wait() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#connection?.close();
      this.#lose("timeout");
    }, this.#waiting.length ? PATIENCE : IDLE);
  }

  #take(reply) {
    const { resolve, reject } = this.#waiting.shift();
    try { resolve(result(reply)); } catch (error) { reject(error); }
    this.#wait();
  }

  #lose(problem) {
    const lost = this.#waiting;
    clearTimeout(this.#timer);
    this.#connection = null;
    this.#waiting = [];
    for (const { reject } of lost) reject(new CallError("unreachable", { reason: problem }));
  }
}

// A call with many replies; `onEnd` gets the error with which they end.  What this returns ends them.
export function follow(method, parameters, onReply, onEnd) {
  const connection = connect(reply => {
    try { onReply(result(reply)); } catch (error) {
      connection.close();
      onEnd(error);
    }
  }, problem => onEnd(new CallError("unreachable", { reason: problem })));
  connection.send({ method: INTERFACE + method, parameters, more: true });
  return connection.close;
}
