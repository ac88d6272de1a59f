//! What the policies will say to each app, as far as it can be known before a request comes.

use policy::{Data, Judge, Question, Verdict, decide};

use super::super::compile::{Compiled, LoadOptions};
use super::super::mistakes::NoteKind;
use super::super::read::Tree;
use super::super::report::Report;
use super::super::report::quote;
use crate::outlook;

/// Warns of every target that an app's own labels and class always keep out.
pub(in super::super) fn look_ahead(compiled: &Compiled, tree: &Tree, options: &LoadOptions<'_>, report: &mut Report) {
    let Ok(judge) = outlook::judge(compiled) else { return };
    for app in &compiled.apps {
        let purpose = app.purposes.first().map(String::as_str);
        for model in &app.models {
            let Some(model) = compiled.models.get(*model) else { continue };
            let labels = outlook::labels(&[&*app.labels, &*model.labels].concat());
            let candidates: Vec<_> = model.targets.iter().map(|target| outlook::candidate(compiled, *target)).collect();
            let class = outlook::class(model.class.map_or(app.class, |class| class.max(app.class)));
            let data = Data { labels: &labels, labelled: true, class, purpose };
            let question = Question { data, now: options.now, ..Question::about(&app.name, &model.name, &candidates) };
            let mark = tree.root().at("data").at(&app.name).key();
            for verdict in denied(&judge, &question) {
                let message = format!(
                    "app `{}` can never reach `{}` of model {}: {}",
                    app.name,
                    verdict.name,
                    quote(&model.name),
                    verdict.ruling
                );
                report.note(NoteKind::Warning, mark, message, None);
            }
        }
    }
}

/// The targets that policies keep out; what is merely not approved is said where it is named.
fn denied(judge: &Judge, question: &Question<'_>) -> Vec<Verdict> {
    let verdicts = match decide(judge, question) {
        Ok(permit) => permit.verdicts().to_vec(),
        Err(denial) => denial.verdicts().to_vec(),
    };
    let out = |verdict: &Verdict| !verdict.ruling.is_in() && verdict.ruling.policies().is_some();
    verdicts.into_iter().filter(out).collect()
}
