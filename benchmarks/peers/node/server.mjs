// Node.js with Fastify, fast-jwt and postgres.js, as the documentation of the three advises.
//
// https://fastify.dev/docs/latest/Reference/Validation-and-Serialization/
// https://github.com/nearform/fast-jwt
// https://github.com/porsager/postgres
//
// `node server.mjs PORT`. postgres.js sends statements in a pipeline on each of its connections.

import Fastify from "fastify";
import { createVerifier } from "fast-jwt";
import postgres from "postgres";

const environment = process.env;
const sql = postgres({
  host: environment.BENCHMARK_DATABASE_HOST,
  port: Number(environment.BENCHMARK_DATABASE_PORT),
  database: environment.BENCHMARK_DATABASE_NAME,
  username: "postgres",
  max: Number(environment.BENCHMARK_POOL_SIZE),
  // Identifiers are bigint, which postgres.js returns as text because JavaScript's numbers end at 2^53.
  types: { bigint: { to: 20, from: [20], parse: Number, serialize: String } },
});
const verify = createVerifier({
  key: environment.BENCHMARK_SECRET,
  algorithms: ["HS256"],
  allowedIss: environment.BENCHMARK_ISSUER,
  allowedAud: environment.BENCHMARK_AUDIENCE,
  requiredClaims: ["sub", "email", "exp", "iat", "iss", "aud", "sid"],
});

const id = { type: "integer" };
const time = { type: "string", format: "date-time" };
const widget = {
  type: "object",
  properties: { id, name: { type: "string" }, owner_id: id, created_at: time, updated_at: time },
};
const page = {
  type: "object",
  properties: {
    items: { type: "array", items: widget },
    next_cursor: { type: "string", nullable: true },
  },
};

const app = Fastify();
app.decorateRequest("user", null);

app.addHook("onRequest", async (request, reply) => {
  let claims;
  try {
    claims = verify((request.headers.authorization ?? "").replace(/^Bearer /, ""));
  } catch {
    return reply.code(401).send({ detail: "Unauthorized" });
  }
  const [user] = await sql`
    SELECT u.id, u.email, u.is_staff
    FROM accounts_apisession s JOIN accounts_user u ON u.id = s.user_id
    WHERE s.key = ${claims.sid} AND s.user_id = ${claims.sub}
      AND s.revoked_at IS NULL AND s.expires_at > now() AND u.is_active`;
  if (!user) {
    return reply.code(401).send({ detail: "Unauthorized" });
  }
  request.user = user;
});

app.get(
  "/widgets/:id",
  { schema: { params: { type: "object", properties: { id } }, response: { 200: widget } } },
  async (request, reply) => {
    const [found] = await sql`
      SELECT id, name, owner_id, created_at, updated_at
      FROM widgets_widget WHERE id = ${request.params.id}`;
    return found ?? reply.code(404).send({ detail: "Not found" });
  },
);

app.get(
  "/widgets/",
  {
    schema: {
      querystring: {
        type: "object",
        properties: {
          limit: { type: "integer", minimum: 1, maximum: 100, default: 50 },
          cursor: { type: "integer", default: 0 },
        },
      },
      response: { 200: page },
    },
  },
  async (request) => {
    const { limit, cursor } = request.query;
    const rows = await sql`
      SELECT id, name, owner_id, created_at, updated_at
      FROM widgets_widget WHERE id > ${cursor} ORDER BY id LIMIT ${limit + 1}`;
    const items = rows.slice(0, limit);
    return { items, next_cursor: rows.length > limit ? String(items.at(-1).id) : null };
  },
);

app.post(
  "/widgets/",
  {
    schema: {
      body: {
        type: "object",
        required: ["name"],
        properties: { name: { type: "string", minLength: 1, maxLength: 255 } },
      },
      response: { 201: widget },
    },
  },
  async (request, reply) => {
    try {
      const [created] = await sql`
        INSERT INTO widgets_widget (name, owner_id)
        VALUES (${request.body.name}, ${request.user.id})
        RETURNING id, name, owner_id, created_at, updated_at`;
      return reply.code(201).send(created);
    } catch (error) {
      if (error.code === "23505") {
        return reply.code(400).send({ detail: "Name already exists" });
      }
      throw error;
    }
  },
);

process.on("SIGTERM", async () => {
  await app.close();
  await sql.end();
});
await app.listen({ host: "127.0.0.1", port: Number(process.argv[2]) });
