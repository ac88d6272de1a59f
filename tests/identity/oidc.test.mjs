// Keys of an issuer that the gateway fetches itself, with a certified provider: CAUSEWAY_BINARY=… node --test oidc.test.mjs
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import http from 'node:http';
import { after, before, test } from 'node:test';

import { Gateway, Issuer, binary, newKey, signed, signedWithSecret, startUpstream, unsigned, until } from './house.mjs';

const [first, second, stranger] = ['k-1', 'k-2', 'k-1'].map(newKey);
const opened = [];
let upstream;

before(async () => { upstream = await startUpstream(); });
after(async () => {
    for (const one of opened.reverse()) await one.stop();
    upstream.close();
});

async function world(options) {
    const issuer = await Issuer.start(first);
    opened.push(issuer);
    const gateway = await Gateway.start(issuer, upstream, options);
    opened.push(gateway);
    await until('the keys', async () => (await gateway.issuer()).keys > 0);
    return { issuer, gateway };
}

const claims = (issuer, more) => ({
    iss: issuer.url, aud: 'https://gateway.example', client_id: 'claims', exp: Math.floor(Date.now() / 1000) + 600, ...more,
});

test('a token of the provider is accepted, and its key set is seen', async () => {
    const { issuer, gateway } = await world();

    assert.equal(await gateway.ask(await issuer.token()), 200);
    assert.equal(await gateway.ask(signed(stranger, {}, claims(issuer))), 401);

    const figures = await gateway.metrics();
    assert.match(figures, /^causeway_issuer_keys\{issuer="corp"\} 1$/m);
    assert.match(figures, /^causeway_issuer_keys_age_seconds\{issuer="corp"\} \d+$/m);
    const plan = execFileSync(binary, ['netplan', '--config', 'causeway.toml', '--format', 'csv'], { cwd: gateway.folder, encoding: 'utf8' });
    assert.match(plan, /identity.*idp/);
});

test('after a rotation the new key is fetched at the first token that names it, and the old one is refused', async () => {
    const { issuer, gateway } = await world();
    const old = await issuer.token();
    assert.equal(await gateway.ask(old), 200);

    await issuer.restart(second);
    const fresh = await issuer.token();

    await until('the new key', async () => (await gateway.ask(fresh)) === 200);
    assert.equal(await gateway.ask(old), 401);
});

test('tokens with unknown keys make the gateway ask once and not once each', async () => {
    const { issuer, gateway } = await world();
    const asked = issuer.asked.keys;
    const began = Date.now();

    for (let number = 0; number < 100; number += 1) {
        assert.equal(await gateway.ask(signed(stranger, { kid: `unknown-${number}` }, claims(issuer))), 401);
    }
    await until('a fetch because of an unknown key', async () => issuer.asked.keys > asked);

    const allowed = 1 + Math.ceil((Date.now() - began) / 10_000);
    assert.ok(issuer.asked.keys - asked <= allowed, `${issuer.asked.keys - asked} fetches for 100 unknown keys`);
});

test('while the provider lies or is down the last good keys count, and the status says what is wrong', async () => {
    const { issuer, gateway } = await world({ keys: ', refresh_s = 1' });
    const token = await issuer.token();
    const json = (value) => (request, response) => response.end(JSON.stringify(value));
    const document = { issuer: issuer.url, jwks_uri: `${issuer.url}/jwks` };
    let elsewhere = 0;
    const evil = http.createServer((request, response) => { elsewhere += 1; response.end(JSON.stringify({ keys: [stranger.jwk] })); });
    await new Promise((done) => evil.listen(0, '127.0.0.1', done));
    const away = `http://127.0.0.1:${evil.address().port}/jwks`;
    const lies = [
        ['another issuer', { document: json({ ...document, issuer: 'https://evil.example' }) }, /that of issuer `https:\/\/evil/],
        ['the issuer with a slash more', { document: json({ ...document, issuer: `${issuer.url}/` }) }, /that of issuer/],
        ['keys at another host', { document: json({ ...document, jwks_uri: away }) }, /leads to/],
        ['a redirection', { keys: (request, response) => response.writeHead(302, { location: away }).end() }, /answers 302/],
        ['a document without end', { document: (request, response) => response.end(`{"pad":"${'x'.repeat(70_000)}"}`) }, /longer than 65536/],
        ['keys without end', { keys: (request, response) => response.end(' '.repeat(300_000)) }, /longer than 262144/],
        ['a page of a captive portal', { keys: (request, response) => response.end('<html>sign in</html>') }, /cannot be used/],
        ['symmetric keys alone', { keys: json({ keys: [{ kty: 'oct', kid: 'k-1', k: 'c2VjcmV0' }] }) }, /no RSA/],
        ['an empty set', { keys: json({ keys: [] }) }, /no RSA/],
        ['half an answer', { keys: (request, response) => { response.writeHead(200, { 'content-length': 1000 }).write('{'); setTimeout(() => response.destroy(), 20); } }, /broke off/],
        ['nobody', { document: (request) => request.socket.destroy(), keys: (request) => request.socket.destroy() }, /not reached/],
    ];

    for (const [what, lie, said] of lies) {
        issuer.lie = lie;
        const { failed } = await until(`a failure because of ${what}`, async () => {
            const status = await gateway.issuer();
            return said.test(status.failed ?? '') && status;
        });
        assert.match(failed, said, what);
        assert.equal(await gateway.ask(token), 200, what);
        issuer.lie = undefined;
        await until(`a recovery from ${what}`, async () => (await gateway.issuer()).failed === null, 90);
    }
    evil.close();
    assert.equal(elsewhere, 0, 'nobody was asked whom the configuration does not name');
    assert.equal(await gateway.ask(signed(stranger, {}, claims(issuer))), 401);
});

test('a gateway that starts while the provider is down goes on with the keys that it had', async () => {
    const { issuer, gateway } = await world();
    const token = await issuer.token();
    await gateway.leave();
    issuer.lie = { document: (request) => request.socket.destroy() };

    await gateway.launch();

    assert.equal(await gateway.ask(token), 200);
    await until('the failure', async () => /not reached/.test((await gateway.issuer()).failed));
});

test('keys that grew too old are given up with an alarm, and taken again when the provider is back', async () => {
    const { issuer, gateway } = await world({ keys: ', refresh_s = 1, keep_s = 4' });
    const token = await issuer.token();
    assert.equal(await gateway.ask(token), 200);

    issuer.lie = { document: (request) => request.socket.destroy() };
    await until('the keys to be given up', async () => (await gateway.ask(token)) === 401);
    assert.match(await gateway.metrics(), /^causeway_issuer_keys\{issuer="corp"\} 0$/m);
    assert.match(gateway.said(), /ALARM issuer_keys/);
    issuer.lie = undefined;

    await until('the keys again', async () => (await gateway.ask(token)) === 200, 120);
});

test('no token with another algorithm, an own key or a place of keys is believed', async () => {
    const { issuer, gateway } = await world();
    const publicPem = first.publicKey.export({ type: 'spki', format: 'pem' });
    const publicDer = first.publicKey.export({ type: 'spki', format: 'der' });
    let asked = 0;
    const evil = http.createServer((request, response) => { asked += 1; response.end(JSON.stringify({ keys: [stranger.jwk] })); });
    await new Promise((done) => evil.listen(0, '127.0.0.1', done));
    const place = `http://127.0.0.1:${evil.address().port}/keys`;
    const { kty, n, e } = stranger.jwk;
    const now = Math.floor(Date.now() / 1000);
    const attacks = {
        'the public key as a secret, PEM': signedWithSecret(publicPem, { kid: 'k-1' }, claims(issuer)),
        'the public key as a secret, DER': signedWithSecret(publicDer, { kid: 'k-1' }, claims(issuer)),
        'the modulus as a secret': signedWithSecret(Buffer.from(first.jwk.n, 'base64url'), { kid: 'k-1' }, claims(issuer)),
        'no signature': unsigned({ kid: 'k-1' }, claims(issuer)),
        'None': unsigned({ kid: 'k-1', alg: 'None' }, claims(issuer)),
        'a key in the header': signed(stranger, { jwk: { kty, n, e } }, claims(issuer)),
        'a place of keys in the header': signed(stranger, { jku: place }, claims(issuer)),
        'a certificate in the header': signed(stranger, { x5u: place }, claims(issuer)),
        'a way out of the folder as key id': signed(stranger, { kid: '../../../../dev/null' }, claims(issuer)),
        'an unknown critical header': signed(first, { crit: ['b64'], b64: true }, claims(issuer)),
        'expired by more than the skew': signed(first, {}, claims(issuer, { exp: now - 61 })),
        'not valid yet': signed(first, {}, claims(issuer, { nbf: now + 120 })),
        'for somebody else': signed(first, {}, claims(issuer, { aud: 'https://other.example' })),
        'of another issuer with our keys': signed(first, {}, claims(issuer, { iss: 'https://other.example' })),
        'an id token': signed(first, { typ: 'logout+jwt' }, claims(issuer)),
    };

    assert.equal(await gateway.ask(signed(first, {}, claims(issuer))), 200, 'the same, well made');
    for (const [what, token] of Object.entries(attacks)) assert.equal(await gateway.ask(token), 401, what);
    evil.close();
    assert.equal(asked, 0);
});
