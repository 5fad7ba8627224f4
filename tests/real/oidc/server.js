// The authorization server of the real-server tests: oidc-provider with short-lived opaque tokens, rotation of refresh
// tokens and detection of their reuse, in memory.
//
// It prints its port on stdout and ends when stdin does. Who signs in is who the login form says; no password counts.
// Below /control, for the tests alone:
//
//   POST /control/fault?name=NAME      the token endpoint behaves so from now on; see `faults`
//   POST /control/lenient?on=true      a used refresh token works until its successor is used, as with a grace period
//   POST /control/expire?sub=SUB       access tokens are no longer good, refresh tokens are
//   POST /control/revoke?sub=SUB       nothing is
//   GET  /control/secrets              every code and token there is
//   GET  /control/requests?sub=SUB     how many token requests gave SUB tokens, and how many failed for everybody

import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const stored = new Map();
const succeeded = new Map();
let failed = 0;
let fault = 'none';
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

// Each answers a token request, or leaves it unanswered, in a way of its own.
const json = (status, body, headers = {}) => (req, res) => {
  res.writeHead(status, { 'content-type': 'application/json', ...headers });
  res.end(JSON.stringify(body));
};
const faults = {
  down: (req) => req.socket.destroy(),
  slow: () => {},
  429: json(429, { error: 'slow_down' }, { 'retry-after': '1' }),
  500: json(500, { error: 'server_error' }),
  unavailable: json(400, { error: 'temporarily_unavailable' }),
  garbage: (req, res) => res.end('\u0000\u00ff not json'),
  html: (req, res) => {
    res.writeHead(400, { 'content-type': 'text/html' });
    res.end('<html><body>invalid_grant? No: the cat sits on the <b>server</b>.</body></html>');
  },
  redirect: (req, res) => {
    res.writeHead(307, { location: '/token?again' });
    res.end();
  },
};

function control(url) {
  const query = url.searchParams;
  const sub = query.get('sub');
  const theirs = ({ payload }) => payload.accountId === sub;
  switch (url.pathname) {
    case '/control/fault':
      fault = query.get('name');
      return {};
    case '/control/lenient':
      lenient = query.get('on') === 'true';
      return {};
    case '/control/expire':
      forget((entry) => entry.model === 'AccessToken' && theirs(entry));
      return {};
    case '/control/revoke':
      forget((entry) => ['AccessToken', 'RefreshToken', 'Grant'].includes(entry.model) && theirs(entry));
      return {};
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
    scope: 'mail offline_access',
  };
  const device = 'urn:ietf:params:oauth:grant-type:device_code';
  const it = new Provider(issuer, {
    adapter: Memory,
    clients: [
      { ...native, client_id: 'mailsluice', grant_types: ['authorization_code', 'refresh_token', device] },
      {
        client_id: 'machine',
        client_secret: 'canary-client-secret',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
        scope: 'mail',
      },
      {
        client_id: 'dovecot',
        client_secret: 'dovecot-secret',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    scopes: ['openid', 'offline_access', 'mail'],
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
  const count = (ctx) => {
    const sub = ctx.oidc.entities.AccessToken?.accountId ?? ctx.oidc.entities.Account?.accountId;
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

let answer;
const server = createServer((req, res) => {
  const url = new URL(req.url, 'http://127.0.0.1');
  if (url.pathname.startsWith('/control/')) {
    json(200, control(url))(req, res);
  } else if (url.pathname === '/token' && fault !== 'none') {
    failed += 1;
    faults[fault](req, res);
  } else {
    answer(req, res);
  }
});
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  answer = provider(`http://127.0.0.1:${port}`);
  console.log(port);
});
process.stdin.resume().on('end', () => process.exit(0));
