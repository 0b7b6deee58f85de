//! What befalls an agent while it works: kills, stops, pinches, and orders by hand.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};

use super::site::Site;
use super::{Counts, TIMEOUT};
use crate::support::SOON;
use crate::support::agent::Agent;
use crate::support::open_files;

/// One thing that befalls an agent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
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

use Trouble::{
    Asked, BuiltAndKilled, BuiltByHand, DiskFull, Interrupted, Killed, MarkerTouched, OutOfDescriptors,
    Paused, RolledBack, SettingsReadAgain, Stopped,
};

impl Trouble {
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

    /// Lets it happen. What was answered from the instant returned on may be lost and bought again.
    pub(super) fn befall(
        self,
        site: &Site,
        agent: &mut Option<Agent>,
        lot: &mut fastrand::Rng,
        counts: &Counts,
    ) -> Option<Instant> {
        // A request on its way now may have been sent as long ago as a request may take.
        let began = Instant::now().checked_sub(TIMEOUT);
        let lately = Duration::from_millis(lot.u64(50..400));
        let running = agent.as_mut().expect("an agent runs while there is trouble");
        match self {
            Killed => {
                running.signal(Signal::KILL);
                assert_eq!(running.ended(SOON), 137, "{}", running.log());
                *agent = Some(site.agent());
            }
            Stopped | Interrupted => {
                running.signal(if matches!(self, Stopped) { Signal::TERM } else { Signal::INT });
                assert_eq!(running.ended(Duration::from_secs(5)), 0, "{}", running.log());
                assert_eq!(site.world.drafts().len(), 0, "staging was left behind");
                *agent = Some(site.agent());
            }
            Paused => {
                running.signal(Signal::STOP);
                std::thread::sleep(lately * 4);
                running.signal(Signal::CONT);
            }
            OutOfDescriptors => {
                let open = open_files(running.pid()).len() as u64;
                let few = Rlimit { current: Some(open), maximum: getrlimit(Resource::Nofile).maximum };
                let before = prlimit(Some(running.pid()), Resource::Nofile, few).unwrap();
                site.touch();
                std::thread::sleep(lately);
                prlimit(Some(running.pid()), Resource::Nofile, before).unwrap();
            }
            DiskFull if site.small_disk => {
                site.fill();
                std::thread::sleep(lately);
                site.clear();
            }
            DiskFull => return None,
            SettingsReadAgain => running.signal(Signal::HUP),
            Asked => running.signal(Signal::USR1),
            MarkerTouched => site.touch(),
            BuiltByHand => {
                let ran = site.run(&["build", "--json"]);
                assert!([0, 1, 75].contains(&ran.code), "{ran:?}");
            }
            RolledBack => {
                let ran = site.run(&["rollback", "--json"]);
                assert!([0, 1, 75].contains(&ran.code), "{ran:?}");
            }
            BuiltAndKilled => {
                let mut build = Agent::start(&mut site.command(&["build", "--wait"]));
                std::thread::sleep(lately / 10);
                if !build.is_over() {
                    build.signal(Signal::KILL);
                }
                build.ended(SOON);
            }
        }
        counts.add(self.words());
        // What only asks loses nothing.
        let harmless = matches!(self, SettingsReadAgain | Asked | MarkerTouched | BuiltByHand | RolledBack);
        began.filter(|_| !harmless)
    }

    fn words(self) -> &'static str {
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
