//! The data pack: which region lies where, which countries form a group, and where each offer processes prompts.
//!
//! Its files lie in `policies/data/` and are embedded. `pack.json` names the version and the SHA-256 of each file; whoever
//! reads a pack compares the hashes, because this crate has no hash function.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::Deserialize;
use time::Date;
use time::format_description::well_known::Iso8601;

use super::{Countries, Country, Extension, UnknownCountry, adjust, schema};

/// The texts of a pack.
#[derive(Clone, Copy, Debug)]
pub struct PackFiles<'a> {
    /// `pack.json`: version, and the hash of each other file.
    pub manifest: &'a str,
    /// `regions.json`.
    pub regions: &'a str,
    /// `groups.json`.
    pub groups: &'a str,
    /// `places.json`.
    pub places: &'a str,
}

impl PackFiles<'static> {
    /// The pack that comes with this version.
    pub const SHIPPED: Self = Self {
        manifest: include_str!("../../../../policies/data/pack.json"),
        regions: include_str!("../../../../policies/data/regions.json"),
        groups: include_str!("../../../../policies/data/groups.json"),
        places: include_str!("../../../../policies/data/places.json"),
    };
}

/// A pack that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file is no JSON of the pack's form.
    #[error("{file}: {source}")]
    Form {
        /// The file.
        file: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A file of a format that this version does not read.
    #[error("{file} has format {found}, this version reads format {FORMAT}")]
    Format {
        /// The file.
        file: &'static str,
        /// Its format.
        found: u32,
    },
    /// A file is not the one that the manifest names.
    #[error("{file} is not what `pack.json` names: its SHA-256 is {found}")]
    Hash {
        /// The file.
        file: String,
        /// The hash of what was read.
        found: String,
    },
    /// Something in a file that is not defined.
    #[error("{file}: {at}: {fault}")]
    Content {
        /// The file.
        file: &'static str,
        /// The row.
        at: String,
        /// What is wrong.
        fault: String,
    },
}

/// The format of the files that this version reads.
pub(super) const FORMAT: u32 = 1;

/// A data pack that was read whole and is consistent.
#[derive(Clone, Debug)]
pub struct Pack {
    /// Its version, a date.
    pub version: String,
    pub(super) regions: BTreeMap<(String, String), Region>,
    groups: BTreeMap<String, Countries>,
    pub(super) rows: Vec<Row>,
    pub(super) vertex_models: BTreeSet<(String, String)>,
    pub(super) sources: BTreeMap<String, Source>,
    /// Until when regions and groups hold.
    pub(super) base_valid_until: SystemTime,
    /// Until when groups hold.
    groups_valid_until: SystemTime,
}

/// A group of countries, and until when it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its members.
    pub countries: Countries,
    /// From this instant on nobody knows who they are; never where absent.
    pub valid_until: Option<SystemTime>,
}

impl From<Countries> for Zone {
    /// One without an end.
    fn from(countries: Countries) -> Self {
        Self { countries, valid_until: None }
    }
}

/// Groups of countries by name.
pub type Zones = BTreeMap<String, Zone>;

/// `pack.json`: which files make up the pack.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Manifest")]
pub(super) struct ManifestFile {
    #[schemars(schema_with = "schema::format")]
    format: u32,
    /// The day on which the pack was made; decisions name it.
    #[schemars(schema_with = "schema::day")]
    version: String,
    /// The SHA-256 of each of the other files, in hex.
    #[schemars(schema_with = "schema::hashes")]
    files: BTreeMap<String, String>,
}

/// `regions.json`: which region lies in which country.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what is written for people is checked to be there and not read by the program")]
#[schemars(rename = "Regions")]
pub(super) struct RegionsFile {
    #[schemars(schema_with = "schema::format")]
    format: u32,
    #[schemars(schema_with = "schema::day")]
    version: String,
    /// From this day on every region counts as unknown.
    #[schemars(schema_with = "schema::day")]
    valid_until: String,
    /// Where the list is from, in words.
    source: String,
    /// The pages that it was read from.
    sources: Vec<String>,
    /// When they were read.
    #[schemars(schema_with = "schema::day")]
    source_date: String,
    regions: Vec<Region>,
}

/// A region of a cloud.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Region {
    pub(super) cloud: String,
    pub(super) region: String,
    #[schemars(schema_with = "schema::country")]
    pub(super) country: String,
    pub(super) partition: String,
    /// The country whose law its operator answers to.
    #[schemars(schema_with = "schema::country")]
    pub(super) operator: String,
    /// The country whose law the operator's parent answers to.
    #[schemars(schema_with = "schema::country")]
    pub(super) parent: String,
    /// Countries of its geography, where that is more than its own country.
    pub(super) geography: Option<Vec<String>>,
    /// The data zone that it belongs to.
    pub(super) zone: Option<String>,
    #[expect(dead_code, reason = "written for people")]
    note: Option<String>,
    /// Its country is not certain.
    #[serde(default)]
    pub(super) doubtful: bool,
}

/// `groups.json`: which countries form a group.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what is written for people is checked to be there and not read by the program")]
#[schemars(rename = "Groups")]
pub(super) struct GroupsFile {
    #[schemars(schema_with = "schema::format")]
    format: u32,
    #[schemars(schema_with = "schema::day")]
    version: String,
    /// From this day on every group counts as unknown.
    #[schemars(schema_with = "schema::day")]
    valid_until: String,
    groups: BTreeMap<String, Group>,
}

/// A group of countries.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what is written for people is checked to be there and not read by the program")]
struct Group {
    #[schemars(schema_with = "schema::countries")]
    countries: Vec<String>,
    source: String,
    #[schemars(schema_with = "schema::day")]
    date: String,
    /// What the source leaves in doubt.
    doubtful: Option<String>,
}

/// `places.json`: where each offer processes, keeps and shows prompts.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what is written for people is checked to be there and not read by the program")]
#[schemars(rename = "Places")]
pub(super) struct PlacesFile {
    #[schemars(schema_with = "schema::format")]
    format: u32,
    #[schemars(schema_with = "schema::day")]
    version: String,
    /// The pages that columns were read from, by the name that columns use.
    sources: BTreeMap<String, Source>,
    rows: Vec<Row>,
    /// Models that Google promises to serve within a location.
    vertex_models: Vec<VertexModel>,
}

/// A page that a column was read from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "written for people")]
pub(super) struct Source {
    pub(super) title: String,
    url: String,
    /// Its own date, or the day on which it was read where it has none.
    #[schemars(schema_with = "schema::day")]
    pub(super) date: String,
    /// How much of it was read.
    read: String,
}

/// A model and a location that it is served within.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct VertexModel {
    model: String,
    location: String,
}

/// One offer: where it processes and keeps prompts, each column with its source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name, for overrides and records.
    pub id: String,
    /// The cloud or company.
    pub provider: String,
    pub(super) when: When,
    /// The offer, in words.
    pub words: String,
    /// Hosts at which it is met; they decide nothing.
    pub hosts: Vec<String>,
    pub(super) processing: Column<Where>,
    pub(super) at_rest: Column<Where>,
    pub(super) access: Column<Where>,
    pub(super) retention_days: Column<Days>,
    pub(super) training: Column<bool>,
    pub(super) operator: Column<String>,
    pub(super) parent: Option<Column<String>>,
    pub(super) certifications: Column<Vec<String>>,
    /// What the sources leave in doubt; the worst case stands in the columns.
    pub doubtful: Option<String>,
    /// What else a reader should know.
    pub note: Option<String>,
    /// From this day on the row counts as unknown.
    #[schemars(schema_with = "schema::day")]
    valid_until: String,
}

/// What an offer is found by; what is absent fits everything.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct When {
    pub(super) sku: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) partition: Option<String>,
    pub(super) publisher: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) location: Option<String>,
    pub(super) listed: Option<bool>,
    pub(super) project_region: Option<String>,
    pub(super) inference_geo: Option<String>,
    pub(super) region: Option<String>,
}

/// A value and the page that it is from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Column_of_{T}")]
pub(super) struct Column<T> {
    pub(super) is: T,
    pub(super) source: String,
}

/// Countries, by name or by a rule over the region.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Where {
    /// `anywhere`, `region`, `geography`, or `eea-staff`: the EEA for regions inside it, else anywhere.
    Rule(Rule),
    /// Countries and groups.
    Listed(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Rule {
    Anywhere,
    Region,
    Geography,
    EeaStaff,
}

/// Days, or `unknown`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Days {
    Known(u32),
    Unknown(Unknown),
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Unknown {
    Unknown,
}

impl Row {
    /// From this instant on the row counts as unknown.
    #[must_use]
    pub fn valid_until(&self) -> SystemTime {
        day_of(&self.valid_until).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// What a column of countries says.
    pub(super) fn column(&self, column: adjust::Column) -> &Where {
        match column {
            adjust::Column::Processing => &self.processing.is,
            adjust::Column::AtRest => &self.at_rest.is,
            adjust::Column::Access => &self.access.is,
        }
    }
}

impl Pack {
    /// Reads a pack whole. `hash` gives the SHA-256 of a text in hex; each file must be the one that the manifest names.
    ///
    /// # Errors
    ///
    /// [`PackError`] for the first fault: a pack is made by machine, and its author mends it there.
    pub fn read(files: &PackFiles<'_>, hash: impl Fn(&str) -> String) -> Result<Self, PackError> {
        let manifest: ManifestFile = parse("pack.json", files.manifest)?;
        for (file, text) in
            [("regions.json", files.regions), ("groups.json", files.groups), ("places.json", files.places)]
        {
            let found = hash(text);
            if manifest.files.get(file) != Some(&found) {
                return Err(PackError::Hash { file: file.to_owned(), found });
            }
        }
        date("pack.json", "version", &manifest.version)?;
        let regions: RegionsFile = parse("regions.json", files.regions)?;
        let groups: GroupsFile = parse("groups.json", files.groups)?;
        let places: PlacesFile = parse("places.json", files.places)?;
        let formats = [("pack.json", manifest.format), ("regions.json", regions.format)];
        for (file, found) in formats.into_iter().chain([("groups.json", groups.format), ("places.json", places.format)])
        {
            if found != FORMAT {
                return Err(PackError::Format { file, found });
            }
        }
        let groups_valid_until = date("groups.json", "valid_until", &groups.valid_until)?;
        let base_valid_until = date("regions.json", "valid_until", &regions.valid_until)?.min(groups_valid_until);
        let pack = Self {
            version: manifest.version,
            regions: regions.regions.into_iter().map(|one| ((one.cloud.clone(), one.region.clone()), one)).collect(),
            groups: groups
                .groups
                .into_iter()
                .map(|(name, group)| Ok((name.clone(), listed("groups.json", &name, &group.countries)?)))
                .collect::<Result<_, PackError>>()?,
            rows: places.rows,
            vertex_models: places.vertex_models.into_iter().map(|one| (one.model, one.location)).collect(),
            sources: places.sources,
            base_valid_until,
            groups_valid_until,
        };
        pack.check()?;
        Ok(pack)
    }

    /// Every name that a row uses is defined, every code is a country, every id stands once.
    fn check(&self) -> Result<(), PackError> {
        for region in self.regions.values() {
            let own = [&region.country, &region.operator, &region.parent];
            for code in own.into_iter().chain(region.geography.iter().flatten()) {
                country("regions.json", &region.region, code)?;
            }
        }
        let mut ids = BTreeSet::new();
        for row in &self.rows {
            let fault = |fault: String| PackError::Content { file: "places.json", at: row.id.clone(), fault };
            if !ids.insert(&row.id) {
                return Err(fault("the id stands twice".to_owned()));
            }
            date("places.json", &row.id, &row.valid_until)?;
            for column in [&row.processing, &row.at_rest, &row.access] {
                if let Where::Listed(names) = &column.is {
                    self.countries_of(names).map_err(|error| fault(error.to_string()))?;
                }
            }
            for code in [&row.operator].into_iter().chain(&row.parent).filter(|column| column.is != "region") {
                country("places.json", &row.id, &code.is)?;
            }
            if let Some(unknown) = row.sources().find(|source| !self.sources.contains_key(*source)) {
                return Err(fault(format!("`{unknown}` is no source")));
            }
        }
        Ok(())
    }

    /// Countries and groups by name, as one set.
    ///
    /// # Errors
    ///
    /// [`UnknownCountry`] for the first name that is neither.
    pub fn countries_of(&self, names: &[String]) -> Result<Countries, UnknownCountry> {
        let mut all = Countries::default();
        for name in names {
            match self.groups.get(name) {
                Some(group) => all = all.union(group),
                None => {
                    all.0.insert(name.parse()?);
                }
            }
        }
        Ok(all)
    }

    /// The groups of countries, by name.
    #[must_use]
    pub fn groups(&self) -> &BTreeMap<String, Countries> {
        &self.groups
    }

    /// The groups of countries with their ends, some of which hold longer because somebody answers for it.
    #[must_use]
    pub fn zones(&self, extended: &BTreeMap<String, Extension>) -> Zones {
        let zone = |(name, countries): (&String, &Countries)| {
            let end = extended.get(name).map_or(self.groups_valid_until, |extension| extension.until);
            (name.clone(), Zone { countries: countries.clone(), valid_until: Some(end) })
        };
        self.groups.iter().map(zone).collect()
    }

    /// Whether `country` stands in the group of this name; no country stands in a group that does not exist.
    #[must_use]
    pub fn is_in(&self, country: Country, group: &str) -> bool {
        self.groups.get(group).is_some_and(|group| group.0.contains(&country))
    }

    /// All offers, in the order of the file.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Certificates that any offer has.
    pub fn certificates(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().flat_map(|row| &row.certifications.is).map(String::as_str)
    }
}

impl Row {
    pub(super) fn sources(&self) -> impl Iterator<Item = &str> {
        let places = [&self.processing, &self.at_rest, &self.access].map(|column| column.source.as_str());
        let others = [&self.retention_days.source, &self.training.source, &self.operator.source];
        places.into_iter().chain(others.into_iter().map(String::as_str)).chain([self.certifications.source.as_str()])
    }
}

fn parse<'a, T: Deserialize<'a>>(file: &'static str, text: &'a str) -> Result<T, PackError> {
    serde_json::from_str(text).map_err(|source| PackError::Form { file, source })
}

fn listed(file: &'static str, at: &str, codes: &[String]) -> Result<Countries, PackError> {
    codes.iter().map(|code| country(file, at, code)).collect()
}

fn country(file: &'static str, at: &str, code: &str) -> Result<Country, PackError> {
    code.parse().map_err(|error: UnknownCountry| PackError::Content {
        file,
        at: at.to_owned(),
        fault: error.to_string(),
    })
}

fn date(file: &'static str, at: &str, text: &str) -> Result<SystemTime, PackError> {
    let fault = || PackError::Content { file, at: at.to_owned(), fault: format!("`{text}` is no date") };
    day_of(text).ok_or_else(fault)
}

/// The first instant of a day written as `2027-05-08`, UTC.
#[must_use]
pub fn day_of(text: &str) -> Option<SystemTime> {
    let day = Date::parse(text, &Iso8601::DATE).ok()?;
    let seconds = day.midnight().assume_utc().unix_timestamp();
    let since = Duration::from_secs(u64::try_from(seconds).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}
