//! Line 12: texts by a template, compared with those of the experts' own rules.
//!
//! `plan` with nothing served makes the record and the text of every row and
//! sends nothing, so that the two differ in how a text is made alone.

use super::Bench;
use crate::table::Figures;

const MILLION: u32 = 1_000_000;

/// The table of experts, said in settings.
const SOURCE: &str = r#"table = "experts"
where = "tags IS NOT NULL"
columns = ["id", "username", { name = "first_name", key = "First Name" }, { name = "last_name", key = "Last Name" },
    { name = "job_title", key = "Job Title" }, { name = "company", key = "Company" }, { name = "bio", key = "Bio" },
    { name = "hourly_rate", key = "Hourly Rate" }, { name = "currency", key = "Currency" },
    { name = "profile_url", key = "Profile URL" }, { name = "profile_url_utm", key = "Profile URL with UTM" },
    { name = "tags", json = true }, "findability_score", "category"]
"#;
const TEMPLATE: &str = "{{ first_name }} {{ last_name }}. {{ job_title }} at {{ company }}. {{ bio }}\
                        {% if tags %} Domains: {{ tags|join(', ') }}.{% endif %}";

/// Line 12: a million rows.
pub fn million_rendered(bench: &mut Bench) {
    let fixture = bench.fixture("million", MILLION);
    let document = format!("[document]\ntemplate = \"{TEMPLATE}\"\n");
    let (mut ours, mut limit) = (Figures::default(), Figures::default());
    // Once before, so that the database is warm where it may be.
    crate::baselines::stepping(&fixture.database());
    for _ in 0..bench.long_turns {
        let preset = fixture.planned("preset", "", "");
        let template = fixture.planned("template", SOURCE, &document);
        for ran in [&preset, &template] {
            assert!(ran.number("/to_embed") > u64::from(MILLION) / 2, "{ran:?}");
        }
        limit.push(preset.took);
        ours.push(template.took);
    }
    let what = "1,000,000 rows planned, texts by a template";
    bench.table.ratio("12", what, &ours, ("by the experts' own rules", &limit), 2.0);
}
