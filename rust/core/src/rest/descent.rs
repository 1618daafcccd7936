//! Whether there is something lower beside where a run rests: it is nudged, and goes down.

use super::{norm, pseudorandom, Rest, ZERO};

/// Steps down from where a nudge led.
const DESCENT: usize = 32;

impl Rest<'_> {
    /// Nudges each run to either side, and goes down from there, to see whether the loss
    /// falls below where it rests.
    pub(super) fn descend(&mut self) {
        let parameters = self.layers.len();
        for own in &mut self.lanes {
            own.lowest = own.start;
        }
        for side in [1.0, -1.0] {
            // A nudge is small: it climbs no more than a hundredth of the loss.
            for _ in 0..4 {
                self.nudge(side, parameters);
                self.evaluate();
                let mut too_far = false;
                for own in &mut self.lanes {
                    if own.here > 1.01 * own.start && !own.is_degenerate {
                        own.nudge *= 0.1;
                        too_far = true;
                    }
                }
                if !too_far {
                    break;
                }
            }
            self.nudge(side, parameters);
            for own in &mut self.lanes {
                own.step = if own.curvature > 0.0 {
                    1.0 / own.curvature
                } else {
                    0.0
                };
                own.last = f64::INFINITY;
            }
            for _ in 0..DESCENT {
                self.evaluate();
                self.step_down();
            }
        }
    }

    /// A step of gradient descent for each run: no longer than a nudge, and shorter after one that
    /// led upwards.
    fn step_down(&mut self) {
        let (width, parameters) = (self.width, self.layers.len());
        for (lane, own) in self.lanes.iter_mut().enumerate() {
            if own.here < own.lowest {
                own.lowest = own.here;
            }
            if own.here > own.last {
                own.step *= 0.25;
            }
            own.last = own.here;
            let length = own.step * norm(&self.direction, width, lane);
            let most = own.nudge.max(own.nudge_of_zeros());
            let shortened = if length > most { most / length } else { 1.0 };
            for index in 0..parameters {
                let at = index * width + lane;
                let step = own.step * shortened * self.direction[at];
                self.place[at] -= step * self.scale[at];
            }
        }
    }

    fn nudge(&mut self, side: f64, parameters: usize) {
        let width = self.width;
        for index in 0..parameters {
            let random = side * pseudorandom(index, parameters);
            for (lane, own) in self.lanes.iter().enumerate() {
                let at = index * width + lane;
                let is_zero = own.is_degenerate && self.start[at].abs() <= ZERO * own.natural;
                let length = if is_zero {
                    own.nudge_of_zeros()
                } else {
                    own.nudge
                };
                self.place[at] = self.start[at] + length * random * self.scale[at];
            }
        }
    }
}
