//! `[budget.NAME]` and `[webhook.NAME]`.

use accounting::{Calendar, MOST_THRESHOLDS, Mode, Money, Period, Terms};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::compile::{BudgetConfig, WebhookConfig};
use super::super::document::{Budget, BudgetMode, BudgetPeriod, Document, Webhook};
use super::super::mistakes::remedy_for;
use super::super::report::quote;
use super::prices::money;
use super::resolvers::Zones;
use super::service::Services;
use super::{Check, Owner};

/// Most budgets: each is looked at for every request of its app.
const MOST_BUDGETS: usize = 256;

/// Most that can be waited for: ten times the amount.
const MOST_PERCENT: u32 = 1_000;

/// The percent that are announced where the document says nothing.
const USUAL: [u32; 3] = [50, 80, 100];

/// What stands before the Base64 of a secret, and how many bytes it has (Standard Webhooks).
const PREFIX: &str = "whsec_";
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

impl Check<'_> {
    pub(super) fn budgets(&mut self, document: &Document) -> Vec<BudgetConfig> {
        if document.budget.len() > MOST_BUDGETS {
            let message = format!("there are {} budgets, and at most {MOST_BUDGETS} are kept", document.budget.len());
            self.wrong(self.root.at("budget").mark(), message, "`each_user` has one amount for each of many");
        }
        document.budget.iter().filter_map(|(name, budget)| self.budget(name, budget, document)).collect()
    }

    fn budget(&mut self, name: &str, budget: &Budget, document: &Document) -> Option<BudgetConfig> {
        let at = self.place("budget", name);
        self.budget_of(name, budget, document);
        let limit = money(&budget.usd);
        if limit == Money::ZERO {
            let message = format!("`budget.{name}.usd` is 0, which permits only what costs nothing");
            self.wrong(at.at("usd").mark(), message, "give it more, or hold the app or model back");
        }
        let each_user = budget.each_user == Some(true);
        let is_keyed = document.audit.as_ref().is_some_and(|audit| audit.pseudonyms.is_some());
        if each_user && document.replicas == Some(true) && !is_keyed && self.walked.is_whole("audit", "") {
            let message = format!("`budget.{name}.each_user` needs `audit.pseudonyms` where several gateways share it");
            let remedy = "name the same key in all gateways: without it one user would be another in each";
            self.wrong(at.at("each_user").mark(), message, remedy);
        }
        if let Some(webhook) = &budget.webhook
            && !self.is_defined("webhook", webhook)
        {
            self.dangling(at.at("webhook").mark(), &format!("budget `{name}`"), "webhook", webhook);
        }
        let calendar = self.calendar(name, budget);
        Some(BudgetConfig {
            name: name.to_owned(),
            app: budget.app.as_deref().and_then(|app| self.index_of("app", app)),
            team: budget.team.clone(),
            model: budget.model.clone(),
            each_user,
            terms: Terms { limit, mode: mode_of(budget) },
            calendar: calendar?,
            thresholds: self.thresholds(name, budget),
            webhook: budget.webhook.clone(),
        })
    }

    /// What it names must be there, and there must be requests that it is about.
    fn budget_of(&mut self, name: &str, budget: &Budget, document: &Document) {
        let (at, who) = (self.place("budget", name), format!("budget `{name}`"));
        for (section, named) in [("app", &budget.app), ("model", &budget.model)] {
            if let Some(named) = named
                && !self.is_defined(section, named)
            {
                self.dangling(at.at(section).mark(), &who, section, named);
            }
        }
        let is_whole = self.walked.all_whole("app");
        if let Some(team) = &budget.team
            && is_whole
            && !document.app.values().any(|app| app.team == *team)
        {
            let known = document.app.values().map(|app| app.team.as_str());
            let remedy = remedy_for(team, known, "name the team of an app".to_owned());
            self.wrong(at.at("team").mark(), format!("{who} names team {}, which no app has", quote(team)), remedy);
            return;
        }
        let app = budget.app.as_ref().and_then(|app| document.app.get(app));
        if let (Some(team), Some(app)) = (&budget.team, app)
            && app.team != *team
        {
            let message = format!("{who} is about nothing: its app is of team {}", quote(&app.team));
            self.wrong(at.at("team").mark(), message, "leave one of the two out");
        }
        let apps = document.app.iter().filter(|(name, app)| {
            budget.app.as_ref().is_none_or(|wanted| wanted == *name)
                && budget.team.as_ref().is_none_or(|team| *team == app.team)
        });
        if let Some(model) = budget.model.as_ref().filter(|model| is_whole && self.is_defined("model", model))
            && !apps.map(|(_, app)| &app.models).any(|models| models.contains(model))
        {
            let message = format!("{who} is about nothing: none of its apps may ask for model {}", quote(model));
            self.wrong(at.at("model").mark(), message, "name a model of theirs, or leave it out");
        }
    }

    fn calendar(&mut self, name: &str, budget: &Budget) -> Option<Calendar> {
        let period = match budget.period.unwrap_or_default() {
            BudgetPeriod::Hour => Period::Hour,
            BudgetPeriod::Day => Period::Day,
            BudgetPeriod::Week => Period::Week,
            BudgetPeriod::Month => Period::Month,
        };
        let Some(zone) = &budget.time_zone else { return Some(Calendar::utc(period)) };
        let calendar = Calendar::named(period, zone);
        if let Err(fault) = &calendar {
            let mark = self.place("budget", name).at("time_zone").mark();
            let message = format!("`budget.{name}.time_zone` is {}, which is {fault}", quote(zone));
            self.wrong(mark, message, "write it as the database does, such as `Europe/Berlin`");
        }
        calendar.ok()
    }

    fn thresholds(&mut self, name: &str, budget: &Budget) -> Vec<u32> {
        let Some(written) = &budget.thresholds else { return USUAL.to_vec() };
        let at = self.place("budget", name).at("thresholds");
        let setting = format!("budget.{name}.thresholds");
        if written.is_empty() && budget.webhook.is_some() {
            self.wrong(
                at.mark(),
                format!("`{setting}` is empty, and its webhook would never be called"),
                "leave one out",
            );
        }
        if written.len() > MOST_THRESHOLDS {
            let message = format!("`{setting}` has {} entries", written.len());
            self.wrong(at.mark(), message, format!("it takes {MOST_THRESHOLDS} at most"));
        }
        if !written.is_sorted_by(|one, next| one < next) {
            self.wrong(at.mark(), format!("`{setting}` does not rise"), "write each percentage once, the lowest first");
        }
        let most = if mode_of(budget) == Mode::Hard { 100 } else { MOST_PERCENT };
        for (index, percent) in written.iter().enumerate().filter(|(_, percent)| !(1..=most).contains(*percent)) {
            let message = format!("`{setting}`: {percent} percent can never be reached");
            self.wrong(
                at.item(index).mark(),
                message,
                format!("write 1 to {most}; above 100 only with `mode = \"warning\"`"),
            );
        }
        written.clone()
    }

    pub(super) fn webhooks(&mut self, document: &Document, network: (&Zones, &Services)) -> Vec<WebhookConfig> {
        let hooks = document.webhook.iter().filter_map(|(name, webhook)| {
            if !document.budget.values().any(|budget| budget.webhook.as_ref() == Some(name))
                && self.walked.all_whole("budget")
            {
                let message = format!("no budget names webhook `{name}`, so it is never called");
                self.warn(self.place("webhook", name).key(), message, "name it in a budget, or leave it out");
            }
            self.webhook(name, webhook, network)
        });
        hooks.collect()
    }

    fn webhook(&mut self, name: &str, webhook: &Webhook, network: (&Zones, &Services)) -> Option<WebhookConfig> {
        let owner = Owner { section: "webhook", name };
        let url = self.url(owner, &webhook.url, &webhook.reach);
        let reach = self.reach(owner, &webhook.reach, url.as_ref().map(|url| &url.host), network);
        let tls = url.as_ref().map(|url| self.endpoint_tls(owner, url, webhook.tls.as_ref()));
        let transport = self.transport(owner, webhook.transport.as_ref(), &webhook.reach);
        let (at, setting) = (self.place("webhook", name).at("secret"), format!("webhook.{name}.secret"));
        let secret = self.key_of(at, &setting, &webhook.secret);
        if secret.as_ref().is_some_and(|secret| signing_key(secret.expose()).is_none()) {
            let remedy = "it takes `whsec_` and 24 to 64 random bytes in Base64, as the receiver made it";
            self.wrong(at.mark(), format!("`{setting}` holds no secret of a webhook"), remedy);
        }
        let url = url?;
        Some(WebhookConfig {
            name: name.to_owned(),
            scheme: url.scheme,
            host: url.host,
            port: url.port,
            path: url.path,
            reach: reach?,
            tls: tls.flatten(),
            transport: transport?,
            secret,
        })
    }
}

fn mode_of(budget: &Budget) -> Mode {
    match budget.mode.unwrap_or_default() {
        BudgetMode::Hard => Mode::Hard,
        BudgetMode::Warning => Mode::Warning,
    }
}

/// The bytes of a secret, as Standard Webhooks write it.
pub(crate) fn signing_key(secret: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
    BYTES.contains(&bytes.len()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_its_prefix_and_as_many_bytes_as_it_should() {
        let of = |bytes: usize| format!("{PREFIX}{}", STANDARD.encode(vec![7; bytes]));

        assert_eq!(signing_key(&of(24)), Some(vec![7; 24]));
        assert_eq!(signing_key(&of(64)).map(|key| key.len()), Some(64));
        for wrong in [of(23), of(65), of(32).replace(PREFIX, ""), "whsec_".to_owned(), format!("{PREFIX}not base64")] {
            assert_eq!(signing_key(&wrong), None, "{wrong}");
        }
    }
}
