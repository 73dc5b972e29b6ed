// Type-safe access to JSON values from the server. Missing or malformed values become empty or null.

export type JsonObject = Record<string, unknown>;

export const toObject = (value: unknown): JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};

export const toObjects = (value: unknown): JsonObject[] => (Array.isArray(value) ? value.map(toObject) : []);

export const toText = (value: unknown): string => (typeof value === "string" ? value : "");

export const toTexts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((element) => typeof element === "string") : [];

export const toNumber = (value: unknown): number | null =>
  typeof value === "number" && Number.isFinite(value) ? value : null;

/** Parses an ISO 8601 time into milliseconds since the Unix epoch. */
export const toTimestamp = (value: unknown): number | null => {
  const timestamp = Date.parse(toText(value));
  return Number.isNaN(timestamp) ? null : timestamp;
};
