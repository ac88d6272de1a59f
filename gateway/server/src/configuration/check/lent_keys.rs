//! Keys of AWS that run out: which role is asked for where, and what is shown for it.

use super::super::compile::{AwsCredentialConfig, GrantConfig, IdentityHostConfig, TokenAuthConfig};
use super::super::document::{AwsContainer, AwsMachine, AwsWebIdentity, WitnessS3Auth};
use super::super::report::quote;
use super::super::tree::Cursor;
use super::{Check, Owner};

/// How sessions are named where the document says nothing.
const SESSION: &str = "causeway";

/// What AWS takes in names of roles and sessions, beside letters and digits.
const IN_NAMES: &[u8] = b"_+=,.@-";

impl Check<'_> {
    /// Keys that are asked for; nothing where the document has them itself.
    pub(super) fn lent_keys(&mut self, owner: Owner<'_>, auth: &WitnessS3Auth) -> Option<AwsCredentialConfig> {
        match auth {
            WitnessS3Auth::Aws(_) => None,
            WitnessS3Auth::AwsWebIdentity(own) => self.by_web_identity(owner, own),
            WitnessS3Auth::AwsMachine(own) => self.of_the_machine(owner, own),
            WitnessS3Auth::AwsContainer(own) => self.of_the_container(owner, own),
        }
    }

    fn by_web_identity(&mut self, owner: Owner<'_>, own: &AwsWebIdentity) -> Option<AwsCredentialConfig> {
        let at = self.of(owner).at("auth").at("aws-web-identity");
        let setting = |key: &str| owner.setting(&format!("auth.aws-web-identity.{key}"));
        let region = self.aws_region(at, &setting("region"), &own.region);
        let host = self.identity_named(at, owner, &own.identity).map(IdentityHostConfig::Named);
        let is_role = own.role.starts_with("arn:aws")
            && own.role.contains(":role/")
            && (20..=2048).contains(&own.role.len())
            && own.role.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_role {
            let message = format!("`{}` is {}, which is no role", setting("role"), quote(&own.role));
            self.wrong(at.at("role").mark(), message, "write it as `arn:aws:iam::111122223333:role/NAME`");
        }
        let session = own.session.as_deref().unwrap_or(SESSION);
        let is_session = (2..=64).contains(&session.len()) && is_name(session);
        if !is_session {
            let message = format!("`{}` is {}, which is no name of a session", setting("session"), quote(session));
            let remedy = "write 2 to 64 letters, digits and `_+=,.@-`";
            self.wrong(at.at("session").mark(), message, remedy);
        }
        let file = self.token_file(at, &setting("token_file"), &own.token_file);
        let grant = GrantConfig::AwsWebIdentity { role: own.role.clone(), session: session.to_owned(), file: file? };
        lent(region?, host?, (is_role && is_session).then_some(grant)?)
    }

    fn of_the_machine(&mut self, owner: Owner<'_>, own: &AwsMachine) -> Option<AwsCredentialConfig> {
        let at = self.of(owner).at("auth").at("aws-machine");
        let setting = |key: &str| owner.setting(&format!("auth.aws-machine.{key}"));
        let region = self.aws_region(at, &setting("region"), &own.region);
        let host = match &own.identity {
            Some(identity) => self.identity_named(at, owner, identity).map(IdentityHostConfig::Named),
            None => Some(IdentityHostConfig::Machine),
        };
        let is_role = own.role.as_deref().is_none_or(|role| !role.is_empty() && role.len() <= 64 && is_name(role));
        if !is_role {
            let message = format!("`{}` is no name of a role", setting("role"));
            self.wrong(at.at("role").mark(), message, "write the name alone, without `arn:…` and path");
        }
        lent(region?, host?, is_role.then(|| GrantConfig::AwsMachine { role: own.role.clone() })?)
    }

    fn of_the_container(&mut self, owner: Owner<'_>, own: &AwsContainer) -> Option<AwsCredentialConfig> {
        let at = self.of(owner).at("auth").at("aws-container");
        let setting = |key: &str| owner.setting(&format!("auth.aws-container.{key}"));
        let region = self.aws_region(at, &setting("region"), &own.region);
        let host = self.identity_named(at, owner, &own.identity).map(IdentityHostConfig::Named);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/?=&".contains(&byte);
        let is_path = own.path.starts_with('/') && own.path.bytes().all(plain);
        if !is_path {
            let message = format!("`{}` is {}, which is no path", setting("path"), quote(&own.path));
            self.wrong(at.at("path").mark(), message, "write it as `/v1/credentials`");
        }
        let file = own.token_file.as_ref().map(|file| self.token_file(at, &setting("token_file"), file));
        let file = file.map_or(Some(None), |file| file.map(Some));
        let grant = GrantConfig::AwsContainer { path: own.path.clone(), file: file? };
        lent(region?, host?, is_path.then_some(grant)?)
    }

    /// The path of a file that is read when keys are asked for, and may not be there yet.
    fn token_file(&mut self, at: Cursor<'_>, setting: &str, file: &str) -> Option<std::path::PathBuf> {
        let mark = at.at("token_file").mark();
        if file.is_empty() {
            self.wrong(mark, format!("`{setting}` is empty"), "name the file");
            return None;
        }
        Some(self.path(mark, file))
    }
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || IN_NAMES.contains(&byte))
}

/// What is said of such keys in reports is their region.
fn lent(region: String, host: IdentityHostConfig, grant: GrantConfig) -> Option<AwsCredentialConfig> {
    let keys = TokenAuthConfig { host, scope: format!("s3 in {region}"), grant };
    Some(AwsCredentialConfig::Lent { region, keys })
}
