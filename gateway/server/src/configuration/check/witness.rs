//! `audit.witness`: a server, a bucket or a container that checkpoints are put at.

use super::super::compile::{
    AwsCredentialConfig, BlobCredentialConfig, Secret, Secrets, WitnessConfig, WitnessKindConfig,
};
use super::super::document::{
    Auth, EndpointTls, EndpointTransport, KeySource, Reach, WitnessAzureBlob, WitnessBlobAuth, WitnessHttp, WitnessS3,
    WitnessS3Auth,
};
use super::super::report::quote;
use super::super::url::{Host, Scheme, Url};
use super::resolvers::Zones;
use super::service::Services;
use super::{Check, Owner};

const HTTP: Owner<'static> = Owner { section: "audit.witness", name: "http" };
const S3: Owner<'static> = Owner { section: "audit.witness", name: "s3" };
const BLOB: Owner<'static> = Owner { section: "audit.witness", name: "azure-blob" };

/// What a token for blobs is for, in each of Azure's clouds.
const STORAGE: &str = "https://storage.azure.com/.default";

/// How a server is reached, whatever it is.
struct Way<'a> {
    owner: Owner<'static>,
    url: &'a str,
    reach: &'a Reach,
    tls: Option<&'a EndpointTls>,
    transport: Option<&'a EndpointTransport>,
    read_back: Option<bool>,
}

impl Check<'_> {
    pub(super) fn witness_http(
        &mut self,
        written: &WitnessHttp,
        network: (&Zones, &Services),
    ) -> Option<WitnessConfig> {
        let at = self.of(HTTP);
        let way = Way {
            owner: HTTP,
            url: &written.url,
            reach: &written.reach,
            tls: written.tls.as_ref(),
            transport: written.transport.as_ref(),
            read_back: written.read_back,
        };
        let config = self.witness_way(&way, network);
        let is_read = self.options.secrets == Secrets::Read;
        let secret = written.secret.as_ref().map(|source| {
            let secret = self.key_of(at.at("secret"), "audit.witness.http.secret", source);
            // Where secrets are not read there is none, and that is no mistake.
            if is_read { secret.map(Some) } else { Some(None) }
        });
        match (&written.user, &written.secret) {
            (Some(_), None) => {
                let message = "`audit.witness.http.user` has no password";
                self.wrong(at.at("user").mark(), message, "add `secret = { file = … }`");
            }
            // RFC 7617, section 2: the first colon ends the name.
            (Some(user), Some(_)) if user.contains(':') || user.chars().any(char::is_control) => {
                let message = "`audit.witness.http.user` has a colon or a control character";
                self.wrong(at.at("user").mark(), message, "HTTP Basic cannot carry it; log in with another name");
            }
            _ => {}
        }
        let kind = WitnessKindConfig::Plain { user: written.user.clone(), secret: secret.unwrap_or(Some(None))? };
        Some(WitnessConfig { kind, ..config? })
    }

    pub(super) fn witness_s3(&mut self, written: &WitnessS3, network: (&Zones, &Services)) -> Option<WitnessConfig> {
        let way = Way {
            owner: S3,
            url: &written.url,
            reach: &written.reach,
            tls: written.tls.as_ref(),
            transport: written.transport.as_ref(),
            read_back: written.read_back,
        };
        let config = self.witness_way(&way, network);
        let keys = match &written.auth {
            WitnessS3Auth::Aws(keys) => self.aws_keys(S3, keys).map(AwsCredentialConfig::Keys),
            lent => self.lent_keys(S3, lent),
        };
        let config = config?;
        self.is_store(S3, &config);
        let names_no_bucket = match &config.host {
            Host::Name(name) => {
                let amazons = name.ends_with(".amazonaws.com") || name.ends_with(".amazonaws.com.cn");
                // `s3-eu-west-1` is a host of old, and `s3-mine.s3.eu-west-1` one of a bucket.
                let old = name.starts_with("s3-") && !name.contains(".s3.") && !name.contains(".s3-");
                amazons && (name.starts_with("s3.") || old || name.starts_with("bucket."))
            }
            Host::Address(_) => true,
        };
        if names_no_bucket && config.base_path.is_empty() {
            let message = format!("`{}` names no bucket", S3.setting("url"));
            let remedy =
                "write `https://HOST/BUCKET/PREFIX`, or for Amazon `https://BUCKET.s3.REGION.amazonaws.com/PREFIX`";
            self.wrong(self.of(S3).at("url").mark(), message, remedy);
        }
        Some(WitnessConfig { kind: WitnessKindConfig::S3(keys), ..config })
    }

    pub(super) fn witness_blob(
        &mut self,
        written: &WitnessAzureBlob,
        network: (&Zones, &Services),
    ) -> Option<WitnessConfig> {
        let way = Way {
            owner: BLOB,
            url: &written.url,
            reach: &written.reach,
            tls: written.tls.as_ref(),
            transport: written.transport.as_ref(),
            read_back: written.read_back,
        };
        let config = self.witness_way(&way, network);
        let shown = self.blob_credential(&written.auth);
        let config = config?;
        self.is_store(BLOB, &config);
        if config.base_path.is_empty() {
            let message = format!("`{}` names no container", BLOB.setting("url"));
            let remedy = "write `https://ACCOUNT.blob.core.windows.net/CONTAINER/PREFIX`";
            self.wrong(self.of(BLOB).at("url").mark(), message, remedy);
        }
        Some(WitnessConfig { kind: WitnessKindConfig::AzureBlob(shown), ..config })
    }

    /// How it is reached; as what, is for whoever asks to say.
    fn witness_way(&mut self, way: &Way<'_>, network: (&Zones, &Services)) -> Option<WitnessConfig> {
        let url: Option<Url> = self.url(way.owner, way.url, way.reach);
        let reach = self.reach(way.owner, way.reach, url.as_ref().map(|url| &url.host), network);
        let tls = url.as_ref().map(|url| self.endpoint_tls(way.owner, url, way.tls));
        let transport = self.transport(way.owner, way.transport, way.reach);
        let url = url?;
        Some(WitnessConfig {
            scheme: url.scheme,
            host: url.host,
            port: url.port,
            base_path: url.path,
            reach: reach?,
            tls: tls.flatten(),
            transport: transport?,
            kind: WitnessKindConfig::Plain { user: None, secret: None },
            read_back: way.read_back.unwrap_or(true),
        })
    }

    /// What is true of every object store.
    fn is_store(&mut self, owner: Owner<'_>, config: &WitnessConfig) {
        let mark = self.of(owner).at("url").mark();
        if config.scheme == Scheme::Http {
            let message = format!("`{}`: who stands on the way could read what is shown there", owner.setting("url"));
            self.wrong(mark, message, "write `https://…`");
        }
        // What is escaped in a path is signed as it stands, and each store unescapes in its own way.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
        if !config.base_path.bytes().all(plain) {
            let message =
                format!("`{}` has a path with a character that would have to be escaped", owner.setting("url"));
            self.wrong(mark, message, "make it of letters, digits, `-`, `_`, `.`, `~` and `/`");
        }
    }

    fn blob_credential(&mut self, auth: &WitnessBlobAuth) -> Option<BlobCredentialConfig> {
        let auth = match auth {
            WitnessBlobAuth::Sas(source) => return self.shared_access(source).map(BlobCredentialConfig::Sas),
            WitnessBlobAuth::ManagedIdentity(own) => Auth::ManagedIdentity(own.clone()),
            WitnessBlobAuth::WorkloadIdentity(own) => Auth::WorkloadIdentity(own.clone()),
            WitnessBlobAuth::ClientCertificate(own) => Auth::ClientCertificate(own.clone()),
            WitnessBlobAuth::ClientSecret(own) => Auth::ClientSecret(own.clone()),
        };
        self.token_credential(BLOB, Some(STORAGE.to_owned()), &auth).map(BlobCredentialConfig::Token)
    }

    /// A shared access signature as the portal or `az` gives it. What is wrong with it is said without showing it.
    fn shared_access(&mut self, source: &KeySource) -> Option<Secret> {
        let (at, setting) = (self.of(BLOB).at("auth").at("sas"), BLOB.setting("auth.sas"));
        let secret = self.key_of(at, &setting, source)?;
        let text = secret.expose();
        let text = text.strip_prefix('?').unwrap_or(text);
        let has = |name: &str| text.split('&').any(|part| part.strip_prefix(name).is_some_and(|value| value.len() > 1));
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"#<>?\\^`{|}".contains(&byte);
        if !(text.bytes().all(plain) && has("sv=") && has("sig=")) {
            let message = format!("{} holds no shared access signature", quote(&setting));
            self.wrong(at.mark(), message, "put what stands behind the `?` there: `sv=…&sr=c&sp=cr&…&sig=…`");
            return None;
        }
        Some(Secret::new(text.to_owned()))
    }
}
