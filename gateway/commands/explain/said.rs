//! What a request says of its data, by the rules of the gateway: whatever there is none of is a mistake.

use policy::Class;
use server::configuration::{AppConfig, ModelConfig};
use server::outlook;

/// The highest class that anybody says: the app, the model, and whoever asks.
pub(super) fn class<'a>(
    app: &AppConfig,
    model: &ModelConfig,
    named: impl Iterator<Item = &'a String>,
) -> Result<Class, String> {
    let mut highest = outlook::class(model.class.map_or(app.class, |class| class.max(app.class)));
    for name in named {
        let all = || Class::ALL.map(Class::name).join(", ");
        let class = Class::named(name).ok_or_else(|| format!("`{name}` is no class; the classes are {}", all()))?;
        highest = highest.max(class);
    }
    Ok(highest)
}

/// The one that is named; where none is, the app's first. What `metadata` says is without effect for an app that has registered
/// none.
pub(super) fn purpose<'a>(
    app: &AppConfig,
    given: impl Iterator<Item = &'a String>,
    in_metadata: &'a [String],
) -> Result<Option<String>, String> {
    let in_metadata: &[String] = if app.purposes.is_empty() { &[] } else { in_metadata };
    if let Some(stray) = in_metadata.iter().find(|named| !app.purposes.contains(named)) {
        let all = app.purposes.join(", ");
        return Err(format!("`{stray}` is no purpose of the app `{}`; its purposes are {all}", app.name));
    }
    let mut named = given.chain(in_metadata);
    let first = named.next();
    if let (Some(one), Some(other)) = (first, named.find(|other| Some(*other) != first)) {
        return Err(format!("two purposes are named, `{one}` and `{other}`; name one"));
    }
    Ok(first.or(app.purposes.first()).cloned())
}
