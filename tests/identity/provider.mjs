// A real OpenID Connect provider: node provider.mjs PORT ISSUER KEYS.json
// It gives the client `claims` tokens (JWT) for the audience `https://gateway.example`, signed with the first of the keys.
import { readFileSync } from 'node:fs';
import Provider from 'oidc-provider';

const [port, issuer, keys] = process.argv.slice(2);
const provider = new Provider(issuer, {
    jwks: JSON.parse(readFileSync(keys, 'utf8')),
    clients: [{
        client_id: 'claims', client_secret: 'a-secret-of-the-tests', grant_types: ['client_credentials'],
        redirect_uris: [], response_types: [],
    }],
    features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: false },
        resourceIndicators: {
            enabled: true,
            defaultResource: () => 'https://gateway.example',
            getResourceServerInfo: () => ({
                scope: 'chat', audience: 'https://gateway.example', accessTokenFormat: 'jwt', accessTokenTTL: 600,
                jwt: { sign: { alg: 'RS256' } },
            }),
        },
    },
});
provider.proxy = true;
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
