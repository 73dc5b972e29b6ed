// A certified OpenID Connect provider on a local port, with new keys at each start.
//
// Its argument is JSON: {"port": 1234, "algorithm": "RS256" or "ES256", "generation": "1"}. It signs
// people in without a password, and issues JWTs for each resource that a client names.

import { generateKeyPairSync } from "node:crypto";
import Provider from "oidc-provider";

const { port, algorithm, generation } = JSON.parse(process.argv[2]);
const SCOPE = "snapshots:read snapshots:write snapshots:delete";

function createKey(type, options, alg) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: "jwk" }), kid: `${type}-${generation}`, alg, use: "sig" };
}

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: {
    keys: [
      createKey("rsa", { modulusLength: 2048 }, "RS256"),
      createKey("ec", { namedCurve: "P-256" }, "ES256"),
    ],
  },
  cookies: { keys: ["only for tests"] },
  clients: [
    {
      client_id: "program",
      client_secret: "only-for-tests",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    },
    {
      client_id: "assistant",
      application_type: "native",
      token_endpoint_auth_method: "none",
      redirect_uris: ["http://127.0.0.1/callback"],
    },
  ],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_context, resource) => ({
        scope: SCOPE,
        audience: resource,
        accessTokenFormat: "jwt",
        accessTokenTTL: 600,
        jwt: { sign: { alg: algorithm } },
      }),
    },
  },
});
provider.listen(port, "127.0.0.1", () => console.log("ready"));
