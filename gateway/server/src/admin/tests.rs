use http::Method;

use super::actions::is_plain;
use super::routes::{Access, Missing, Route};
use crate::configuration::Role;

#[test]
fn every_route_has_its_own_path_and_is_found_by_it_with_its_own_methods_only() {
    for route in Route::ALL {
        let same = Route::ALL.into_iter().filter(|other| other.path() == route.path()).count();
        assert_eq!(same, 1, "{route:?}");
        for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let allowed = route.allow().split(", ").any(|allow| allow == method.as_str());
            let found = Route::of(&method, route.path());
            let expected = if allowed { Ok(route) } else { Err(Missing::Method { allow: route.allow() }) };
            assert_eq!(found, expected, "{method} {route:?}");
        }
    }
}

#[test]
fn a_path_that_is_nearly_a_route_is_none() {
    for route in Route::ALL {
        for path in [format!("{}/", route.path()), format!("/{}", route.path()), route.path().to_uppercase()] {
            if path != "/" {
                assert_eq!(Route::of(&Method::GET, &path), Err(Missing::Path), "{path}");
            }
        }
    }
}

#[test]
fn only_the_probes_are_open_and_only_what_lets_go_again_needs_security() {
    for route in Route::ALL {
        let expected = match route {
            Route::Livez | Route::Readyz => Access::Everybody,
            Route::Index | Route::Metrics | Route::Status | Route::Restrictions | Route::BreakGlass => {
                Access::Read(Role::Viewer)
            }
            Route::Reload
            | Route::Revoke
            | Route::Quarantine
            | Route::LocalOnlyOn
            | Route::BreakGlassOpen
            | Route::BreakGlassClose => Access::Act(Role::Operator),
            Route::Reinstate | Route::Release | Route::LocalOnlyOff => Access::Act(Role::Security),
        };
        assert_eq!(route.access(), expected, "{route:?}");
    }
    assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Security);
}

#[test]
fn a_reason_is_plain_text_in_any_language() {
    for plain in
        ["a leak at three", "d'Angelo said \"stop\" \\o/", "Störung: GPU 4", "रिसाव", "漏えい", "e\u{301}", "🔥"]
    {
        assert!(is_plain(plain), "{plain}");
    }
    for hidden in
        ["a\nb", "a\u{1b}[2J", "a\u{202e}b", "a\u{2066}b", "a\u{200b}b", "a\u{feff}", "a\u{2028}b", "a\u{e0041}"]
    {
        assert!(!is_plain(hidden), "{hidden:?}");
    }
}
