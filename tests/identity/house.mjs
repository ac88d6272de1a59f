// What the tests need around a gateway: a provider that can be restarted, a front that can lie, an upstream, processes.
import { spawn } from 'node:child_process';
import { createHmac, createSign, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync, openSync, readFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

const here = path.dirname(new URL(import.meta.url).pathname);
export const binary = process.env.CAUSEWAY_BINARY;

export async function freePort() {
    const server = net.createServer();
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address();
    await new Promise((done) => server.close(done));
    return port;
}

// Looks until `look` gives something, and says what was waited for when it never does.
export async function until(what, look, seconds = 60) {
    const end = Date.now() + seconds * 1000;
    for (;;) {
        const found = await look().catch(() => undefined);
        if (found) return found;
        if (Date.now() > end) throw new Error(`waited ${seconds} s for ${what}`);
        await new Promise((next) => setTimeout(next, 50));
    }
}

export function newKey(kid) {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    return { kid, privateKey, publicKey, jwk: { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' } };
}

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

export function signed(key, header, claims) {
    const text = `${part({ alg: 'RS256', typ: 'at+jwt', kid: key.kid, ...header })}.${part(claims)}`;
    return `${text}.${createSign('RSA-SHA256').update(text).sign(key.privateKey).toString('base64url')}`;
}

export function signedWithSecret(secret, header, claims) {
    const text = `${part({ alg: 'HS256', typ: 'at+jwt', ...header })}.${part(claims)}`;
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

export const unsigned = (header, claims) => `${part({ alg: 'none', typ: 'at+jwt', ...header })}.${part(claims)}.`;

// The provider behind a front that can lie. The provider's issuer is the front's address.
export class Issuer {
    static async start(key) {
        const issuer = new Issuer();
        issuer.folder = mkdtempSync(path.join(tmpdir(), 'causeway-oidc-'));
        issuer.port = await freePort();
        issuer.lie = undefined;
        issuer.asked = { document: 0, keys: 0, other: 0 };
        issuer.front = http.createServer((request, response) => issuer.answer(request, response));
        await new Promise((done) => issuer.front.listen(0, '127.0.0.1', done));
        issuer.url = `http://127.0.0.1:${issuer.front.address().port}`;
        await issuer.restart(key);
        return issuer;
    }

    async restart(key) {
        await this.kill();
        const file = path.join(this.folder, 'keys.json');
        writeFileSync(file, JSON.stringify({ keys: [key.jwk] }));
        this.child = spawn(process.execPath, [path.join(here, 'provider.mjs'), this.port, this.url, file], { stdio: ['ignore', 'pipe', 'inherit'] });
        await new Promise((ready, failed) => {
            this.child.stdout.once('data', ready);
            this.child.once('exit', (code) => failed(new Error(`the provider left with ${code}`)));
        });
    }

    async kill() {
        if (!this.child || this.child.exitCode !== null) return;
        const gone = new Promise((done) => this.child.once('exit', done));
        this.child.kill('SIGKILL');
        await gone;
    }

    async token() {
        const body = new URLSearchParams({ grant_type: 'client_credentials', scope: 'chat' });
        const authorization = `Basic ${Buffer.from('claims:a-secret-of-the-tests').toString('base64')}`;
        const answer = await fetch(`${this.url}/token`, { method: 'POST', body, headers: { authorization } });
        const said = await answer.json();
        if (!said.access_token) throw new Error(`no token: ${JSON.stringify(said)}`);
        return said.access_token;
    }

    answer(request, response) {
        const what = { '/.well-known/openid-configuration': 'document', '/jwks': 'keys' }[request.url] ?? 'other';
        this.asked[what] += 1;
        if (this.lie?.[what]) return this.lie[what](request, response);
        const { url, method, headers } = request;
        const onwards = http.request({ host: '127.0.0.1', port: this.port, path: url, method, headers }, (answer) => {
            response.writeHead(answer.statusCode, answer.headers);
            answer.pipe(response);
        });
        onwards.on('error', () => request.socket.destroy());
        return request.pipe(onwards);
    }

    async stop() {
        await this.kill();
        this.front.closeAllConnections();
        this.front.close();
        rmSync(this.folder, { recursive: true });
    }
}

export class Gateway {
    static async start(issuer, upstream, { keys = '', more = '' } = {}) {
        const gateway = new Gateway();
        gateway.folder = mkdtempSync(path.join(tmpdir(), 'causeway-oidc-'));
        [gateway.data, gateway.admin] = [await freePort(), await freePort()];
        writeFileSync(path.join(gateway.folder, 'causeway.toml'), `
[listen]
address = "127.0.0.1:${gateway.data}"
[admin]
address = "127.0.0.1:${gateway.admin}"
[state]
folder = "state"
[site.lab]
country = "DE"
[endpoint.only]
provider = "openai"
url = "http://127.0.0.1:${upstream.address().port}/v1"
reach = { local = { within = ["127.0.0.0/8"] } }
place = { site = "lab" }
cost = { per_token = { input_usd_per_million = 1, output_usd_per_million = 1 } }
[model.assistant]
targets = ["only/served"]
[identity.idp]
url = "${issuer.url}"
reach = { local = { within = ["127.0.0.0/8"] } }
[issuer.corp]
issuer = "${issuer.url}"
keys = { discovery = { identity = "idp"${keys} } }
[app.claims]
team = "insurance"
jwt = { issuer = "${issuer.url}", audience = "https://gateway.example", claims = { client_id = "claims" } }
models = ["assistant"]
[data.claims]
labels = []
${more}`);
        await gateway.launch();
        return gateway;
    }

    async launch() {
        this.log = path.join(this.folder, 'gateway.log');
        const log = openSync(this.log, 'a');
        this.child = spawn(binary, ['serve', '--config', 'causeway.toml', '--readiness-lead', '0'], { cwd: this.folder, stdio: ['ignore', log, log] });
        await until(`the gateway to be ready:\n${this.said()}`, async () => (await fetch(`http://127.0.0.1:${this.admin}/readyz`)).ok);
    }

    said() { return readFileSync(this.log, 'utf8'); }

    async ask(token) {
        const answer = await fetch(`http://127.0.0.1:${this.data}/v1/chat/completions`, {
            method: 'POST',
            headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
            body: JSON.stringify({ model: 'assistant', messages: [{ role: 'user', content: 'hello' }] }),
        });
        await answer.text();
        return answer.status;
    }

    async issuer() {
        const status = await (await fetch(`http://127.0.0.1:${this.admin}/api/status`)).json();
        return status.issuers.find((one) => one.issuer === 'corp');
    }

    async metrics() { return (await fetch(`http://127.0.0.1:${this.admin}/metrics`)).text(); }

    async leave() {
        const gone = new Promise((done) => this.child.once('exit', done));
        this.child.kill('SIGTERM');
        await gone;
    }

    async stop() {
        if (this.child.exitCode === null) await this.leave();
        rmSync(this.folder, { recursive: true });
    }
}

export async function startUpstream() {
    const server = http.createServer((request, response) => {
        request.resume().on('end', () => {
            response.setHeader('content-type', 'application/json');
            response.end(JSON.stringify({
                id: 'c-1', object: 'chat.completion', created: 1, model: 'served',
                choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'hello' } }],
                usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
            }));
        });
    });
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    return server;
}
