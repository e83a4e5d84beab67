/* Base64url, JWTs and JWEs with the Web Cryptography API, for the fields of Microform and for the studio. */

const utf8 = new TextEncoder();
const RS256 = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };

/** Base64url of bytes, without padding. */
export function encode(bytes) {
  const binary = Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
}

/** The bytes of a base64 or base64url string. */
export function decode(text) {
  const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** The object of one part of a JWT or JWE. */
export function decodeJson(part) {
  return JSON.parse(new TextDecoder().decode(decode(part)));
}

/** Header and payload of a JWT, without verifying it. */
export function decodeJwt(jwt) {
  const [header, payload] = jwt.split(".");
  return { header: decodeJson(header), payload: decodeJson(payload) };
}

/** Whether a JWT was signed by the key, with RS256. */
export async function verifyJwt(jwt, jwk) {
  const [header, payload, signature] = jwt.split(".");
  const key = await crypto.subtle.importKey("jwk", { kty: "RSA", n: jwk.n, e: jwk.e }, RS256, false, ["verify"]);
  return crypto.subtle.verify(RS256.name, key, decode(signature), utf8.encode(`${header}.${payload}`));
}

/** Encrypt an object to a key: a compact JWE with RSA-OAEP (SHA-1, as the protocol demands) and A256GCM. */
export async function encrypt(jwk, content) {
  const header = encode(utf8.encode(JSON.stringify({ kid: jwk.kid, enc: "A256GCM", alg: "RSA-OAEP" })));
  const contentKey = crypto.getRandomValues(new Uint8Array(32));
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const rsa = { name: "RSA-OAEP", hash: "SHA-1" };
  const publicKey = await crypto.subtle.importKey("jwk", { kty: "RSA", n: jwk.n, e: jwk.e }, rsa, false, ["encrypt"]);
  const aesKey = await crypto.subtle.importKey("raw", contentKey, "AES-GCM", false, ["encrypt"]);
  const aes = { name: "AES-GCM", iv, additionalData: utf8.encode(header), tagLength: 128 };
  const ciphertextAndTag = await crypto.subtle.encrypt(aes, aesKey, utf8.encode(JSON.stringify(content)));
  const encryptedKey = await crypto.subtle.encrypt(rsa, publicKey, contentKey);
  const parts = [encryptedKey, iv, ciphertextAndTag.slice(0, -16), ciphertextAndTag.slice(-16)];
  return [header, ...parts.map(encode)].join(".");
}
