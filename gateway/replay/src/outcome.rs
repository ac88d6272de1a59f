//! What a run gave: one outcome a request, and the sums that people read.

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// When it came, in seconds since the start.
    pub at: f64,
    /// Index of its profile.
    pub profile: u16,
    /// What became of it.
    pub end: End,
    /// Seconds from its arrival to the first token.
    pub first: f32,
    /// Seconds from its arrival to the last token.
    pub total: f32,
    /// Dollars that it cost.
    pub usd: f64,
    /// Whether nobody waited for it.
    pub batch: bool,
    /// It kept its times: the first token and the answer as a whole, or for a batch request its deadline.
    pub in_time: bool,
    /// It left own capacity aside for want of it.
    pub burst: bool,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// This target answered, by its index in the scenario.
    Answered(u16),
    /// Policy permitted no target.
    Denied,
    /// Every permitted target refused it.
    Refused,
}

impl End {
    /// The target that answered.
    #[must_use]
    pub const fn target(self) -> Option<u16> {
        match self {
            Self::Answered(target) => Some(target),
            Self::Denied | Self::Refused => None,
        }
    }
}

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// One for each request, in the order of the trace.
    pub outcomes: Vec<Outcome>,
    /// 429s that were received.
    pub refusals: u64,
    /// Requests sent to a target, each try counted: (profile, target) of all of them.
    pub sent: Vec<(u16, u16)>,
    /// Relative errors of the predicted first tokens of own servers, a sample of them.
    pub errors: Vec<f32>,
    /// Times that the burst state opened.
    pub bursts_opened: u64,
    /// Tokens that the books hold reserved at the end: none.
    pub still_reserved: u64,
}

/// The sums of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Requests.
    pub requests: u64,
    /// Requests that policy denied.
    pub denied: u64,
    /// Requests that every target refused.
    pub refused: u64,
    /// Dollars an hour for clouds.
    pub usd_per_hour: f64,
    /// The same with own capacity.
    pub total_usd_per_hour: f64,
    /// Share of the interactive requests that kept their times.
    pub in_time: f64,
    /// Share of the batch requests that kept their deadline; 1 without any.
    pub batch_in_time: f64,
    /// Seconds to the first token of interactive requests: median, 95th and 99th percentile.
    pub first: [f64; 3],
    /// Share of the requests that clouds answered.
    pub cloud_share: f64,
    /// 429s a thousand requests.
    pub refusals_per_thousand: f64,
    /// Median relative error of the predicted first tokens; none where nothing was predicted.
    pub prediction_error: Option<f64>,
}

impl Run {
    /// The sums of this run over a trace of `seconds`; `is_own` says which targets are own servers.
    #[must_use]
    pub fn summary(&self, seconds: f64, fixed_usd_per_hour: f64, is_own: impl Fn(u16) -> bool) -> Summary {
        let hours = (seconds / 3_600.0).max(1e-9);
        let mut summary = Summary { requests: self.outcomes.len() as u64, ..Summary::default() };
        let mut firsts: Vec<f64> = Vec::with_capacity(self.outcomes.len());
        let (mut interactive, mut in_time, mut batch, mut batch_in_time, mut cloud) =
            (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
        for outcome in &self.outcomes {
            summary.usd_per_hour += outcome.usd / hours;
            match outcome.end {
                End::Denied => {
                    summary.denied += 1;
                    continue;
                }
                End::Refused => summary.refused += 1,
                End::Answered(target) => cloud += u64::from(!is_own(target)),
            }
            if outcome.batch {
                batch += 1;
                batch_in_time += u64::from(outcome.in_time);
                continue;
            }
            interactive += 1;
            in_time += u64::from(outcome.in_time);
            if outcome.end.target().is_some() {
                firsts.push(f64::from(outcome.first));
            }
        }
        firsts.sort_by(f64::total_cmp);
        summary.first = [0.5, 0.95, 0.99].map(|part| quantile(&firsts, part));
        summary.total_usd_per_hour = summary.usd_per_hour + fixed_usd_per_hour;
        summary.in_time = share(in_time, interactive);
        summary.batch_in_time = share(batch_in_time, batch);
        summary.cloud_share = cloud as f64 / (summary.requests.max(1)) as f64;
        summary.refusals_per_thousand = self.refusals as f64 * 1_000.0 / summary.requests.max(1) as f64;
        let mut errors: Vec<f64> = self.errors.iter().copied().map(f64::from).collect();
        errors.sort_by(f64::total_cmp);
        summary.prediction_error = (!errors.is_empty()).then(|| quantile(&errors, 0.5));
        summary
    }
}

impl Summary {
    /// The mean of several runs.
    #[must_use]
    pub fn mean(of: &[Self]) -> Self {
        let count = of.len().max(1) as f64;
        let mean = |field: fn(&Self) -> f64| of.iter().map(field).sum::<f64>() / count;
        let whole = |field: fn(&Self) -> u64| (of.iter().map(field).sum::<u64>() as f64 / count).round() as u64;
        let errors: Vec<f64> = of.iter().filter_map(|summary| summary.prediction_error).collect();
        Self {
            requests: whole(|summary| summary.requests),
            denied: whole(|summary| summary.denied),
            refused: whole(|summary| summary.refused),
            usd_per_hour: mean(|summary| summary.usd_per_hour),
            total_usd_per_hour: mean(|summary| summary.total_usd_per_hour),
            in_time: mean(|summary| summary.in_time),
            batch_in_time: mean(|summary| summary.batch_in_time),
            first: [
                mean(|summary| summary.first[0]),
                mean(|summary| summary.first[1]),
                mean(|summary| summary.first[2]),
            ],
            cloud_share: mean(|summary| summary.cloud_share),
            refusals_per_thousand: mean(|summary| summary.refusals_per_thousand),
            prediction_error: (!errors.is_empty()).then(|| errors.iter().sum::<f64>() / errors.len() as f64),
        }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// The value below which `part` of the sorted values lie; 0 where there are none.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let index = (part * sorted.len() as f64) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}
