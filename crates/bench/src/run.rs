//! The run: group after group, every subject in turn. What fails is told and leaves its mark in the table.

use std::time::Instant;

use anyhow::Result;

use crate::args::{Args, Output};
use crate::groups::{self, Figures};
use crate::profile::Profile;
use crate::subject::Subject;
use crate::table::{Column, Group, Spec, Table};
use crate::{discovery, labelled, say, shares, tell};

/// How a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was measured.
    Measured,
    /// Something failed; the table says where.
    Failed,
    /// No group is the one that was asked for.
    NothingAskedFor,
}

/// Measures all and prints the table.
///
/// # Errors
/// Our own program is not built.
pub async fn run(args: Args, peers: Vec<Subject>) -> Result<Outcome> {
    let began = Instant::now();
    if cfg!(debug_assertions) {
        tell("this is a debug build: its figures say nothing");
    }
    let subjects: Vec<Subject> = std::iter::once(Subject::gantry()?).chain(peers).collect();
    let args = &args;
    let mut groups = Vec::new();
    for profile in Profile::ALL {
        let measure = async |subject: &Subject| groups::timings(args, subject, profile).await;
        groups.push(group(args, &subjects, profile.title(), groups::TIMINGS, measure).await);
    }
    let title = format!(
        "a kubelet that refuses connections for {} ms after its socket appeared",
        groups::GAP.as_millis()
    );
    let measure = async |subject: &Subject| groups::gap(args, subject).await;
    groups.push(group(args, &subjects, title, groups::REFUSED, measure).await);

    let measure = async |subject: &Subject| groups::sixteen(args, subject).await;
    groups.push(group(args, &subjects, "16 GPUs".to_owned(), groups::SIXTEEN_GPUS, measure).await);

    for count in shares::COUNTS {
        let title = format!("{} shares of {} GPUs", count * shares::GPUS, shares::GPUS);
        let measure = async |subject: &Subject| shares::shares(args, subject, count).await;
        groups.push(group(args, &subjects, title, shares::SHARES, measure).await);
    }

    let measure = async |subject: &Subject| groups::faults(args, subject).await;
    groups.push(group(args, &subjects[..1], "NVML is broken".to_owned(), groups::FAULTS, measure).await);

    let measure = async |subject: &Subject| groups::footprint(args, subject).await;
    groups.push(group(args, &subjects, "footprint".to_owned(), groups::FOOTPRINT, measure).await);

    let with_discovery =
        if discovery::is_among(args.peers.as_deref()) { &subjects[..] } else { &subjects[..1] };
    for (hardware, profile) in discovery::NODES {
        let title = discovery::title(hardware, profile);
        let measure = async |subject: &Subject| discovery::oneshot(args, subject, hardware, profile).await;
        groups.push(group(args, with_discovery, title, discovery::rows_on(hardware), measure).await);
    }

    let measure = async |_: &Subject| labelled::labelled(args).await;
    let title = "labels on the Node".to_owned();
    groups.push(group(args, &subjects[..1], title, labelled::LABELLED, measure).await);

    let measure = async |_: &Subject| crate::driver::driver(args).await;
    groups.push(
        group(args, &subjects[..1], "the simulated driver".to_owned(), crate::driver::DRIVER, measure).await,
    );

    let title = "images".to_owned();
    if is_asked_for(args, &title) {
        // An image that is not built yet is no failure of anything measured.
        let images = groups::images().map_or_else(
            |error| {
                tell(format!("images: {error:#}"));
                Column::NotMeasured
            },
            Column::Measured,
        );
        groups.push(Group { title, rows: groups::IMAGES, columns: vec![images] });
    }

    for group in &mut groups {
        group.columns.resize(subjects.len(), Column::NotMeasured);
    }
    let titles: Vec<String> = groups.iter().map(|group| group.title.clone()).collect();
    groups.retain(|group| is_asked_for(args, &group.title));
    if let (true, Some(text)) = (groups.is_empty(), &args.only) {
        tell(format!("error: --only {text:?} is in no group's title; there are:\n  {}", titles.join("\n  ")));
        return Ok(Outcome::NothingAskedFor);
    }
    let table = Table { names: subjects.into_iter().map(|subject| subject.name).collect(), groups };
    match args.output {
        Output::Json => say(serde_json::to_string_pretty(&table.json())?),
        Output::Table => say(table.text()),
    }
    tell(format!("done in {} s", began.elapsed().as_secs()));
    Ok(if table.has_failed() { Outcome::Failed } else { Outcome::Measured })
}

/// Whether a group of this title is to be measured.
fn is_asked_for(args: &Args, title: &str) -> bool {
    args.only.as_ref().is_none_or(|text| title.contains(text))
}

async fn group(
    args: &Args,
    subjects: &[Subject],
    title: String,
    rows: &'static [Spec],
    measure: impl AsyncFn(&Subject) -> Figures,
) -> Group {
    let mut columns = Vec::new();
    let is_asked_for = is_asked_for(args, &title);
    for subject in subjects {
        if !is_asked_for {
            columns.push(Column::NotMeasured);
            continue;
        }
        let began = Instant::now();
        tell(format!("{}: {title} …", subject.name));
        columns.push(match measure(subject).await {
            Ok(figures) => {
                tell(format!("{}: {title}: {:.1} s", subject.name, began.elapsed().as_secs_f64()));
                Column::Measured(figures)
            }
            Err(error) => {
                tell(format!("{}: {title}: FAILED: {error:#}", subject.name));
                Column::Failed
            }
        });
    }
    Group { title, rows, columns }
}
