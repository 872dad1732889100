-- Ed25519 keys that sign access tokens. The private halves are readable by this schema's role
-- alone; whoever can read them can sign as anybody.
create table signing_keys (
    -- The key's thumbprint (RFC 7638).
    kid text primary key,
    -- PKCS #8, DER.
    private_key bytea not null,
    created_at timestamptz not null default now(),
    -- When it stopped signing. It stays in the published set until the tokens it signed are over.
    retired_at timestamptz
);

-- One key signs at a time.
create unique index signing_keys_one_active on signing_keys ((retired_at is null))
    where retired_at is null;
