// Sends calls with the vendor's TypeScript SDK, and prints the status and body of each response.
//
// usage: node sdk.mjs BASE_URL KEY <CALLS, an array of {api, method, arguments}

import { readFileSync } from "node:fs";

import sdk from "@nexgencloud/hyperstack-sdk-typescript";

const [basePath, apiKey] = process.argv.slice(2);
const configuration = new sdk.Configuration({ basePath, apiKey });
const results = [];
for (const call of JSON.parse(readFileSync(0, "utf8"))) {
  const api = new sdk[call.api](configuration);
  try {
    const response = await api[call.method](...call.arguments.map((value) => value ?? undefined));
    results.push({ status: response.status, body: response.data });
  } catch (error) {
    if (!error.response) throw error;
    results.push({ status: error.response.status, body: error.response.data });
  }
}
console.log(JSON.stringify(results));
