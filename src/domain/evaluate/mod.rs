//! How well a build answers judged queries: what is asked, how records are ranked, what it comes to.
//!
//! Queries and judgements are files in BEIR's layout, which [`judged`] reads.
//! [`places`] finds their records among the rows of a build, [`ranking`] makes a
//! ranking of what an index finds, [`values`] measures it as `trec_eval` does,
//! and [`run_file`] prints it so that another program can measure it again.
//! Which limit a value must satisfy is `decide`'s.

pub mod judged;
pub mod places;
pub mod ranking;
pub mod run_file;
pub mod values;

pub use judged::{JudgedFault, JudgedQueries, JudgedQuery, Judgement};
pub use places::Places;
pub use ranking::{RankedRow, is_settled, rank};
pub use values::{Evaluation, Metric, QueryValues, measure};
