// What the client of docs/clients.md does about tokens. Each scenario has a client of its own, and
// answers its requests one by one. If one is waited for that never comes, Node exits with 13.
import assert from "node:assert/strict";

class World {
  calls = [];
  waiting = [];
  user = "ann";

  constructor() {
    globalThis.fetch = (request) => new Promise((resolve) => this.arrive(request, resolve));
    globalThis.supabase = {
      auth: {
        getSession: async () => ({ data: { session: { access_token: this.user } } }),
        onAuthStateChange: (listener) => { this.changed = listener; },
      },
    };
  }

  arrive(request, resolve) {
    const answer = (status, body) => resolve(Response.json(body, { status }));
    const call = { path: new URL(request.url).pathname, request, answer };
    const waits = this.waiting.shift();
    if (waits) waits(call);
    else this.calls.push(call);
  }

  async next(path) {
    const call = this.calls.shift() ?? (await new Promise((resolve) => this.waiting.push(resolve)));
    assert.equal(call.path, path);
    return call;
  }

  async exchange(status = 200) {
    const call = await this.next("/auth/token");
    const { access_token } = await call.request.json();
    return () => call.answer(status, { access_token, detail: "Not now" });
  }

  async work(status = 200) {
    const call = await this.next("/widgets/1");
    return () => call.answer(status, { name: call.request.headers.get("Authorization") });
  }

  signIn(user) {
    this.user = user;
    this.changed();
  }
}

const scenarios = {
  async "exchanges once for all who wait"(world, rename) {
    const names = Promise.all(Array.from({ length: 40 }, rename));
    (await world.exchange())();
    for (let count = 0; count < 40; count++) (await world.work())();
    assert.deepEqual(new Set(await names), new Set(["Bearer ann"]));
  },

  async "never lets a user work as the one before"(world, rename) {
    const ofAnn = rename();
    const answerToAnn = await world.exchange();
    world.signIn("bea");
    const ofBea = rename();
    const answerToBea = await world.exchange();
    answerToBea();
    (await world.work())();
    answerToAnn();
    (await world.work())();
    assert.equal(await ofBea, "Bearer bea");
    assert.equal(await ofAnn, "Bearer ann");
    const later = rename();
    (await world.work())();
    assert.equal(await later, "Bearer bea");
  },

  async "keeps no token that comes after its user has gone"(world, rename) {
    const ofAnn = rename();
    const answerToAnn = await world.exchange();
    world.signIn("bea");
    answerToAnn();
    (await world.work())();
    await ofAnn;
    const ofBea = rename();
    (await world.exchange())();
    (await world.work())();
    assert.equal(await ofBea, "Bearer bea");
  },

  async "tries again after an exchange that failed"(world, rename) {
    const first = rename();
    (await world.exchange(503))();
    await assert.rejects(first, /Not now/);
    const second = rename();
    (await world.exchange())();
    (await world.work())();
    assert.equal(await second, "Bearer ann");
  },

  async "exchanges once however many requests are refused"(world, rename) {
    const [first, second] = [rename(), rename()];
    (await world.exchange())();
    const [refuseFirst, refuseSecond] = [await world.work(401), await world.work(401)];
    refuseFirst();
    await assert.rejects(first);
    const third = rename();
    (await world.exchange())();
    (await world.work())();
    await third;
    refuseSecond();
    await assert.rejects(second);
    const fourth = rename();
    (await world.work())();
    await fourth;
  },
};

for (const [name, scenario] of Object.entries(scenarios)) {
  console.log(name);
  const world = new World();
  const { renameWidget } = await import(`./client.mjs?${encodeURIComponent(name)}`);
  await scenario(world, () => renameWidget(1, "Cog"));
}
