//! In which order the permitted targets would be tried, as if nothing else were running.

use policy::{Candidate, decide};
use serde_json::{Value, json};
use server::configuration::{Compiled, ModelConfig};
use server::outlook;
use server::snapshot::{Idle, IdleOrder, IdleTarget};

use super::{Asked, paragraph};

/// What the order can say and cannot.
const AS_IF_IDLE: &str = "as if nothing else were running: for servers that have answered nothing yet, and without what the \
    traffic teaches, what failed and what an operator holds back. Where a request really goes, and why, the running gateway \
    says in its answer to the header x-causeway-explain, to apps with `explain = true`.";

/// Columns before what is said of a target.
const INDENT: usize = 6;

/// The order of one model's permitted targets.
pub(super) struct Order {
    idle: IdleOrder,
    /// The names of its targets.
    names: Vec<String>,
    /// Permitted targets that do not come into question, because their endpoint does not speak the API.
    speechless: Vec<String>,
    api: &'static str,
}

impl Order {
    /// None where no target is permitted that speaks the API. What `before` names is tried there and not again.
    pub(super) fn of(
        (compiled, idle): (&Compiled, &Idle<'_>),
        judge: &policy::Judge,
        asked: &Asked<'_>,
        (model, before): (&ModelConfig, &[usize]),
    ) -> Option<Self> {
        let speaks = |index: usize| {
            let endpoint = &compiled.endpoints[compiled.targets[index].endpoint];
            endpoint.apis.iter().any(|api| api.name() == asked.api)
        };
        let candidates: Vec<(bool, Candidate)> = model
            .targets
            .iter()
            .filter(|index| !before.contains(index))
            .map(|index| (speaks(*index), outlook::candidate(compiled, *index)))
            .collect();
        let labels = super::labels_of(asked, model);
        let permit_of = |spoken: bool| {
            let some = candidates.iter().filter(|(speaks, _)| *speaks == spoken).map(|(_, one)| one.clone());
            let some: Vec<Candidate> = some.collect();
            decide(judge, &super::on_route(asked.question_of(&model.name, &some), &labels, model)).ok()
        };
        let name = |target: &policy::TargetId| {
            let one = candidates.iter().find(|(_, candidate)| candidate.target == *target);
            one.map(|(_, candidate)| candidate.name.to_string()).unwrap_or_default()
        };
        let idle = idle.order(asked.app, model, &asked.request, &permit_of(true)?)?;
        let names = idle.targets.iter().map(|entry| name(&entry.target)).collect();
        let speechless = permit_of(false).map(|permit| permit.targets().iter().map(name).collect()).unwrap_or_default();
        Some(Self { idle, names, speechless, api: asked.api })
    }

    fn entries(&self) -> impl Iterator<Item = (&str, &IdleTarget)> {
        self.names.iter().map(String::as_str).zip(&self.idle.targets)
    }

    /// For the model that was asked for.
    pub(super) fn text(&self) -> String {
        paragraph(
            "",
            &format!("Order in which the permitted targets would be tried, {AS_IF_IDLE} {}", self.request()),
            0,
        ) + &self.list()
    }

    /// For a model that stands in.
    pub(super) fn text_behind(&self, model: &str) -> String {
        paragraph("", &format!("Order within model {model}, likewise:"), 0) + &self.list()
    }

    fn request(&self) -> String {
        let IdleOrder { prompt, output, .. } = &self.idle;
        let waits = if self.idle.is_interactive() { "somebody waits for" } else { "nobody waits for" };
        let drawn = self.idle.targets.iter().any(|entry| entry.share.is_some());
        let drawn = if drawn { " Shares are drawn for each request; this one falls into the first." } else { "" };
        format!("The request is taken to have {prompt} tokens, and its answer, which {waits}, {output}.{drawn}")
    }

    fn list(&self) -> String {
        let tried = |(name, entry): (&str, &IdleTarget)| {
            let head = if entry.is_tried { format!("  {}.", entry.rank) } else { "  -".to_owned() };
            paragraph(&head, &sentence(name, entry), INDENT)
        };
        let mut list: String = self.entries().map(tried).collect();
        for name in &self.speechless {
            let words = format!("{name}: out, its endpoint does not speak the API `{}`.", self.api);
            list.push_str(&paragraph("  -", &words, INDENT));
        }
        list
    }

    pub(super) fn value(&self) -> Value {
        let IdleOrder { prompt, output, class, why, .. } = &self.idle;
        let one = |(name, entry): (&str, &IdleTarget)| {
            json!({
                "target": name,
                "in": entry.is_tried,
                "rank": entry.is_tried.then_some(entry.rank),
                "first_token_ms": entry.first_token.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
                "paid": entry.paid,
                "usd": entry.usd,
                "share_percent": entry.share,
                "why": entry.why,
            })
        };
        let speechless = self.speechless.iter().map(|name| {
            let why = format!("its endpoint does not speak the API `{}`", self.api);
            json!({ "target": name, "in": false, "rank": null, "why": why })
        });
        json!({
            "meaning": AS_IF_IDLE,
            "prompt_tokens": prompt,
            "output_tokens": output,
            "traffic": class,
            "why": why,
            "targets": self.entries().map(one).chain(speechless).collect::<Vec<_>>(),
        })
    }
}

/// The sentence of its place, and what that leaves out of price and time.
fn sentence(name: &str, entry: &IdleTarget) -> String {
    let IdleTarget { is_tried, first_token, paid, usd, why, .. } = entry;
    let mut text = format!("{name}: {}, {why}", if *is_tried { "in" } else { "out" });
    if let Some(time) = first_token.filter(|_| !why.contains("first token")) {
        text.push_str(&format!("; first token in {:.2} s", time.as_secs_f64()));
    }
    match (usd, *paid) {
        (Some(usd), _) if !why.contains('$') => text.push_str(&format!("; it would cost ${usd:.4}")),
        (None, "unpriced") if !why.contains("price") => text.push_str("; at an unknown price"),
        (None, "sunk" | "provisioned") => text.push_str("; it is paid for already"),
        _ => {}
    }
    text.push('.');
    text
}
