//! Ollama, `GET /api/ps`: which models are loaded. It says nothing of requests that wait.
//!
//! Source: Ollama's API documentation, "List Running Models".

use super::{Load, Page};

pub(super) fn read(page: &Page<'_>) -> Option<Load> {
    // The page is an object whose one member is a list; nothing in it is a number that routing could use.
    let body = page.0.trim_start().strip_prefix('{')?.trim_start().strip_prefix("\"models\"")?;
    body.trim_start().strip_prefix(':')?.trim_start().strip_prefix('[')?;
    Some(Load { engine: "ollama", running: None, waiting: None, cache_usage: None, read: None })
}

#[cfg(test)]
mod tests {

    #[test]
    fn the_page_of_the_documentation_is_known_and_says_nothing_of_load() {
        let page = r#"{"models":[{"name":"mistral:latest","model":"mistral:latest","size":5137025024,
            "expires_at":"2024-06-04T14:38:31.83753-07:00","size_vram":5137025024}]}"#;

        let load = super::super::read(page).expect("it is known");

        assert_eq!((load.engine, load.waiting, load.running), ("ollama", None, None));
    }
}
