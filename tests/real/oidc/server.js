// The authorization server of the real-server tests: oidc-provider with short-lived opaque tokens, rotation of refresh
// tokens and detection of their reuse, in memory.
//
// It prints its port on stdout and ends when stdin does. Who signs in is who the login form says; no password counts
// there. Besides what oidc-provider has, it knows two grants: the resource owner's password, and a signed JWT as a
// service account of Google's sends it. Below /control, for the tests alone:
//
//   POST /control/client               the body is the metadata of one more client (RFC 7591); `mailbox` is whose mailbox
//                                      it opens by itself, `password` what opens one by the grant of that
//                                      name, `public_key` is in PEM
//   POST /control/lenient?on=true      a used refresh token works until its successor is used, as with a grace period
//   POST /control/expire?sub=SUB       access tokens are no longer good, refresh tokens are
//   POST /control/revoke?sub=SUB       nothing is
//   GET  /control/held?sub=SUB         how many refresh tokens SUB has
//   GET  /control/secrets              every code and token there is
//   GET  /control/requests?sub=SUB     how many token requests gave SUB tokens, and how many failed for everybody

import { createPublicKey, verify } from 'node:crypto';
import { createServer } from 'node:http';
import Provider, { errors } from 'oidc-provider';

const stored = new Map();
const succeeded = new Map();
let failed = 0;
let lenient = false;
let age = 0;

class Memory {
  constructor(model) {
    this.model = model;
  }

  async upsert(id, payload, expiresIn) {
    const ends = expiresIn ? Date.now() + expiresIn * 1000 : Infinity;
    age += 1;
    stored.set(`${this.model}:${id}`, { model: this.model, payload, ends, age });
  }

  async find(id) {
    const entry = stored.get(`${this.model}:${id}`);
    return entry && entry.ends > Date.now() ? entry.payload : undefined;
  }

  async findByUid(uid) {
    return this.search((payload) => payload.uid === uid);
  }

  async findByUserCode(code) {
    return this.search((payload) => payload.userCode === code);
  }

  search(wanted) {
    for (const { model, payload } of stored.values()) {
      if (model === this.model && wanted(payload)) return payload;
    }
    return undefined;
  }

  async consume(id) {
    const used = stored.get(`${this.model}:${id}`);
    if (!used) return;
    const spend = (payload) => {
      payload.consumed = Math.floor(Date.now() / 1000);
    };
    if (!lenient || this.model !== 'RefreshToken') {
      spend(used.payload);
      return;
    }
    // That this one came shows that those before it are not needed any more.
    for (const other of stored.values()) {
      const same = other.model === 'RefreshToken' && other.payload.grantId === used.payload.grantId;
      if (same && other.age < used.age) spend(other.payload);
    }
  }

  async destroy(id) {
    stored.delete(`${this.model}:${id}`);
  }

  async revokeByGrantId(grantId) {
    forget(({ payload }) => payload.grantId === grantId);
  }
}

function forget(wanted) {
  for (const [key, entry] of stored) {
    if (wanted(entry)) stored.delete(key);
  }
}

const json = (res, body) => {
  res.writeHead(200, { 'content-type': 'application/json' });
  res.end(JSON.stringify(body));
};

const decoded = (jwt) => JSON.parse(Buffer.from(jwt.split('.')[1], 'base64url'));

async function bodyOf(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function control(url, body) {
  const query = url.searchParams;
  const sub = query.get('sub');
  const theirs = ({ payload }) => payload.accountId === sub;
  switch (url.pathname) {
    case '/control/client': {
      const { public_key: pem, ...payload } = JSON.parse(body);
      if (pem) payload.jwks = { keys: [{ ...createPublicKey(pem).export({ format: 'jwk' }), use: 'sig' }] };
      age += 1;
      stored.set(`Client:${payload.client_id}`, { model: 'Client', payload, ends: Infinity, age });
      return {};
    }
    case '/control/lenient':
      lenient = query.get('on') === 'true';
      return {};
    case '/control/expire':
      forget((entry) => entry.model === 'AccessToken' && theirs(entry));
      return {};
    case '/control/revoke':
      forget((entry) => ['AccessToken', 'RefreshToken', 'Grant'].includes(entry.model) && theirs(entry));
      return {};
    case '/control/held':
      return [...stored.values()].filter((entry) => entry.model === 'RefreshToken' && theirs(entry)).length;
    case '/control/secrets':
      return [...stored.entries()]
        .filter(([, { model }]) => /Token|AuthorizationCode|DeviceCode/.test(model))
        .map(([key]) => key.slice(key.indexOf(':') + 1));
    case '/control/requests':
      return { succeeded: succeeded.get(sub) ?? 0, failed };
    default:
      throw new Error(`no control is called ${url.pathname}`);
  }
}

function provider(issuer) {
  const native = {
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    redirect_uris: ['http://127.0.0.1/', 'http://127.0.0.1/callback', 'http://localhost/'],
    response_types: ['code'],
    scope: 'mail calendar offline_access',
  };
  const device = 'urn:ietf:params:oauth:grant-type:device_code';
  const password = 'password';
  const jwtBearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
  const it = new Provider(issuer, {
    adapter: Memory,
    clients: [
      { ...native, client_id: 'mailsluice', grant_types: ['authorization_code', 'refresh_token', device] },
      {
        client_id: 'dovecot',
        client_secret: 'dovecot-secret',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    scopes: ['openid', 'offline_access', 'mail', 'calendar'],
    extraClientMetadata: { properties: ['mailbox', 'password'] },
    // Whose mailbox a token opens that no person had a part in.
    extraTokenClaims: (ctx, token) =>
      token.kind === 'ClientCredentials' ? { sub: ctx.oidc.client.mailbox } : undefined,
    features: {
      deviceFlow: { enabled: true },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: async () => true },
      revocation: { enabled: true },
    },
    pkce: { required: () => true },
    findAccount: async (ctx, sub) => ({ accountId: sub, claims: async () => ({ sub }) }),
    issueRefreshToken: async (ctx, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    ttl: {
      AccessToken: Number(process.env.ACCESS_TOKEN_SECONDS ?? 3600),
      ClientCredentials: 3600,
      RefreshToken: 86400,
      Grant: 86400,
      Session: 3600,
      Interaction: 3600,
      DeviceCode: 600,
    },
    // Microsoft's have some 2000 characters: longer than a command line of any protocol here.
    formats: {
      bitsOfOpaqueRandomness: (ctx, token) => (token.kind === 'AccessToken' ? 12000 : 256),
    },
    cookies: { keys: ['of no use to anybody'] },
  });
  // An access token for `accountId`, as the grants that oidc-provider does not have give one.
  const give = async (ctx, accountId, scope) => {
    const { client } = ctx.oidc;
    const grant = new it.Grant({ accountId, clientId: client.clientId });
    grant.addOIDCScope(scope);
    const token = new it.AccessToken({ client, accountId, grantId: await grant.save(), gty: 'custom', scope });
    ctx.oidc.entity('AccessToken', token);
    ctx.body = { access_token: await token.save(), expires_in: token.expiration, token_type: 'Bearer', scope };
  };
  const withPassword = (ctx) => {
    const { client, params } = ctx.oidc;
    if (params.password !== client.password) throw new errors.InvalidGrant('wrong password');
    return give(ctx, params.username, params.scope);
  };
  it.registerGrantType(password, withPassword, ['username', 'password', 'scope']);
  const withAssertion = (ctx) => {
    const { client, params } = ctx.oidc;
    const [head, claims, signature] = params.assertion.split('.');
    const key = createPublicKey({ key: client.jwks.keys[0], format: 'jwk' });
    const signed = verify('RSA-SHA256', Buffer.from(`${head}.${claims}`), key, Buffer.from(signature, 'base64url'));
    const { aud, exp, sub, scope } = decoded(params.assertion);
    const now = Date.now() / 1000;
    if (!signed || aud !== ctx.oidc.urlFor('token') || !(exp > now && exp <= now + 3660)) {
      throw new errors.InvalidGrant('not a good assertion');
    }
    return give(ctx, sub, scope);
  };
  it.registerGrantType(jwtBearer, withAssertion, ['assertion']);
  const count = (ctx) => {
    const { AccessToken, Account, Client } = ctx.oidc.entities;
    const sub = AccessToken?.accountId ?? Account?.accountId ?? Client?.mailbox;
    if (sub) succeeded.set(sub, (succeeded.get(sub) ?? 0) + 1);
  };
  it.on('grant.success', count);
  it.on('grant.error', (ctx, error) => {
    failed += 1;
    console.error('token request refused:', error.error, error.error_description, error.error_detail);
  });
  it.on('server_error', (ctx, error) => console.error(error));
  return it.callback();
}

// At Google a service account is no client: who it is stands in its assertion.
async function named(req) {
  if (req.method !== 'POST' || req.url !== '/token' || req.headers.authorization) return;
  const fields = new URLSearchParams(await bodyOf(req));
  const assertion = fields.get('assertion');
  if (assertion && !fields.has('client_id')) fields.set('client_id', decoded(assertion).iss);
  req.body = Object.fromEntries(fields);
}

let answer;
const server = createServer(async (req, res) => {
  const url = new URL(req.url, 'http://127.0.0.1');
  if (url.pathname.startsWith('/control/')) {
    json(res, control(url, await bodyOf(req)));
    return;
  }
  await named(req);
  answer(req, res);
});
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  answer = provider(`http://127.0.0.1:${port}`);
  console.log(port);
  // Nobody reads on; what oidc-provider has to say must not end it.
  console.log = console.error;
  console.info = console.error;
});
process.stdin.resume().on('end', () => process.exit(0));
