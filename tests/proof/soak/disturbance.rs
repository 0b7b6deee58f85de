//! What befalls an agent while it works: kills, stops, pinches, and orders by hand.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};

use super::Counts;
use super::host::SoakHost;
use crate::support::SOON;
use crate::support::agent::Agent;
use crate::support::open_files;

/// One thing that befalls an agent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Disturbance {
    Killed,
    Stopped,
    Interrupted,
    Paused,
    OutOfDescriptors,
    DiskFull,
    SettingsReadAgain,
    Asked,
    MarkerTouched,
    BuiltByHand,
    RolledBack,
    BuiltAndKilled,
}

use Disturbance::{
    Asked, BuiltAndKilled, BuiltByHand, DiskFull, Interrupted, Killed, MarkerTouched, OutOfDescriptors,
    Paused, RolledBack, SettingsReadAgain, Stopped,
};

impl Disturbance {
    /// All of them, the commoner ones more than once.
    pub(super) const ALL: [Self; 16] = [
        Killed,
        Killed,
        Stopped,
        Interrupted,
        Paused,
        OutOfDescriptors,
        DiskFull,
        SettingsReadAgain,
        Asked,
        Asked,
        MarkerTouched,
        MarkerTouched,
        BuiltByHand,
        BuiltByHand,
        RolledBack,
        BuiltAndKilled,
    ];

    /// Lets it happen. What was on its way within the time returned may be lost and bought again.
    pub(super) fn apply(
        self,
        site: &SoakHost,
        agent: &mut Option<Agent>,
        lot: &mut fastrand::Rng,
        counts: &Counts,
    ) -> Option<(Instant, Instant)> {
        let (began, lately) = (Instant::now(), Duration::from_millis(lot.u64(50..400)));
        let since = |began: Instant| Some((began, Instant::now()));
        let running = agent.as_mut().expect("an agent runs while there is trouble");
        let lost = match self {
            Killed => {
                running.signal(Signal::KILL);
                assert_eq!(running.ended(SOON), 137, "{}", running.log());
                since(began)
            }
            Stopped | Interrupted => {
                running.signal(if matches!(self, Stopped) { Signal::TERM } else { Signal::INT });
                assert_eq!(running.ended(Duration::from_secs(5)), 0, "{}", running.log());
                since(began)
            }
            Paused => {
                running.signal(Signal::STOP);
                std::thread::sleep(lately * 4);
                running.signal(Signal::CONT);
                since(began)
            }
            OutOfDescriptors => {
                let open = open_files(running.pid()).len() as u64;
                let few = Rlimit { current: Some(open), maximum: getrlimit(Resource::Nofile).maximum };
                let before = prlimit(Some(running.pid()), Resource::Nofile, few).unwrap();
                site.touch();
                std::thread::sleep(lately);
                prlimit(Some(running.pid()), Resource::Nofile, before).unwrap();
                since(began)
            }
            DiskFull if site.small_disk => {
                site.fill();
                std::thread::sleep(lately);
                site.clear();
                since(began)
            }
            DiskFull => return None,
            SettingsReadAgain => {
                running.signal(Signal::HUP);
                None
            }
            Asked => {
                running.signal(Signal::USR1);
                None
            }
            MarkerTouched => {
                site.touch();
                None
            }
            BuiltByHand | RolledBack => {
                let order = if matches!(self, BuiltByHand) { "build" } else { "rollback" };
                let ran = site.run(&[order, "--json"]);
                assert!([0, 1, 75].contains(&ran.code), "{ran:?}");
                None
            }
            BuiltAndKilled => {
                let mut build = Agent::start(&mut site.command(&["build", "--wait"]));
                std::thread::sleep(lately / 10);
                let killed = Instant::now();
                if !build.is_over() {
                    build.signal(Signal::KILL);
                }
                build.ended(SOON);
                since(killed)
            }
        };
        if matches!(self, Killed | Stopped | Interrupted) {
            *agent = Some(site.agent());
        }
        counts.add(self.description());
        lost
    }

    fn description(self) -> &'static str {
        match self {
            Killed => "agents killed",
            Stopped => "agents ended by SIGTERM",
            Interrupted => "agents ended by SIGINT",
            Paused => "agents paused",
            OutOfDescriptors => "times out of descriptors",
            DiskFull => "times the disk was full",
            SettingsReadAgain => "times settings were read again",
            Asked => "orders by SIGUSR1",
            MarkerTouched => "touches of the marker",
            BuiltByHand => "builds by hand",
            RolledBack => "rollbacks by hand",
            BuiltAndKilled => "builds by hand that were killed",
        }
    }
}
