//! Every server of a resolver asked alone, and what their answers say side by side.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use egress::{Code, Endpoint, Resolution, Verdict};

use super::examine::Finding;

/// What one server says.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) server: SocketAddr,
    /// The chain as one line.
    pub(super) chain: String,
    pub(super) addresses: Vec<IpAddr>,
    /// Why an endpoint with this answer alone would be refused.
    pub(super) refused: Option<Finding>,
}

impl View {
    fn of(endpoint: &Endpoint, server: SocketAddr, resolution: &Resolution) -> Self {
        let refused = endpoint.judged(resolution).map(|Verdict { code, seen, .. }| Finding { code, seen });
        let mut addresses = resolution.addresses.clone();
        addresses.sort();
        Self { server, chain: resolution.chain(), addresses, refused }
    }

    fn is_silent(&self) -> bool {
        self.refused.as_ref().is_some_and(|refused| matches!(refused.code, Code::Dns07 | Code::Dns08 | Code::Dns16))
    }

    fn said(&self) -> String {
        format!("{} says {}", self.server, self.chain)
    }
}

/// Asks every server, where there is more than one.
pub(super) async fn compare(endpoint: &Arc<Endpoint>) -> (Vec<View>, Vec<Finding>) {
    if endpoint.servers() < 2 {
        return (Vec::new(), Vec::new());
    }
    let answers = endpoint.each_server().await;
    let views: Vec<View> = answers.iter().map(|(server, answer)| View::of(endpoint, *server, answer)).collect();
    let warnings = differences(&views);
    (views, warnings)
}

fn differences(views: &[View]) -> Vec<Finding> {
    let mut warnings = Vec::new();
    let (silent, speaking): (Vec<&View>, Vec<&View>) = views.iter().partition(|view| view.is_silent());
    if !speaking.is_empty() {
        warnings.extend(silent.iter().filter_map(|view| view.refused.clone()));
    }
    let told = |views: &[&View]| views.iter().map(|view| view.said()).collect::<Vec<_>>().join("; ");
    let (refused, good): (Vec<&View>, Vec<&View>) = speaking.iter().copied().partition(|view| view.refused.is_some());
    if !refused.is_empty() && !good.is_empty() {
        warnings.push(Finding { code: Code::Dns09, seen: told(&speaking) });
    }
    if good.windows(2).any(|pair| matches!(pair, [one, other] if one.addresses != other.addresses)) {
        warnings.push(Finding { code: Code::Dns05, seen: told(&good) });
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(last: u8, address: &str, refused: Option<Code>) -> View {
        View {
            server: SocketAddr::from(([10, 10, 0, last], 53)),
            chain: format!("a -> {address}"),
            addresses: vec![address.parse().unwrap()],
            refused: refused.map(|code| Finding { code, seen: "seen".to_owned() }),
        }
    }

    fn codes(views: &[View]) -> Vec<Code> {
        differences(views).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn servers_that_agree_are_no_news() {
        assert_eq!(codes(&[view(4, "10.20.1.5", None), view(5, "10.20.1.5", None)]), []);
        assert_eq!(codes(&[]), []);
    }

    #[test]
    fn private_answers_that_differ_are_two_copies_of_a_zone() {
        assert_eq!(codes(&[view(4, "10.20.1.5", None), view(5, "10.20.1.9", None)]), [Code::Dns05]);
    }

    #[test]
    fn a_server_that_would_be_refused_beside_one_that_would_not_is_a_disagreement() {
        let views = [view(4, "10.20.1.5", None), view(5, "203.0.113.10", Some(Code::Dns01))];

        assert_eq!(codes(&views), [Code::Dns09]);
    }

    #[test]
    fn a_silent_server_is_told_where_another_one_speaks_and_is_the_verdict_where_none_does() {
        let silent = view(5, "0.0.0.0", Some(Code::Dns07));

        assert_eq!(codes(&[view(4, "10.20.1.5", None), silent.clone()]), [Code::Dns07]);
        assert_eq!(codes(&[silent.clone(), silent]), []);
    }
}
