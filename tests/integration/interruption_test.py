"""A run that is killed or stopped goes on as if it had not been."""

import signal
import subprocess
import time
import unittest

from program_test_case import ProgramTestCase

STEPS = 30
LAST = f"epoch_4_step_{STEPS - 1}"
OVERRIDES = ("--step_scheduler.max_steps", STEPS, "--step_scheduler.ckpt_every_steps", 2,
             "--checkpoint.max_recent_checkpoints", 3, "--dataloader.shuffle",
             "--qat.delay_fake_quant_steps", 17, "--lr_scheduler.lr_decay_style", "cosine",
             "--step_scheduler.val_every_steps", 1)
DIFFERS_FROM_RUN_TO_RUN = ("timestamp", "mem", "tps", "tps_per_gpu")


class InterruptionTest(ProgramTestCase):
    def setUp(self):
        super().setUp()
        self.overrides = (*OVERRIDES, *self.validation())

    def interrupt(self, run, signal_number, after_steps):
        """Starts the run, signals it once that many steps are logged, returns its exit code."""
        command = self.training(run, *map(str, self.overrides))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and len(self.log(run)) < after_steps:
            self.assertLess(time.monotonic(), deadline, "no progress")
            time.sleep(0.001)
        process.send_signal(signal_number)
        return process.wait(timeout=60)

    def records(self, run, name):
        """A log without the fields of time and memory."""
        return [{key: value for key, value in record.items() if key not in DIFFERS_FROM_RUN_TO_RUN}
                for record in self.log(run, name)]

    def assert_same_end(self, expected, actual):
        self.assertEqual(self.column(actual, "step"), list(range(STEPS)))
        for name in ("training.jsonl", "validation.jsonl"):
            self.assertEqual(self.records(expected, name), self.records(actual, name), name)
        for name in ("model/model.safetensors", "optim.safetensors"):
            self.assertEqual((self.folder / expected / LAST / name).read_bytes(),
                             (self.folder / actual / LAST / name).read_bytes(), name)

    def test_killed_and_stopped_runs_equal_the_uninterrupted_one(self):
        self.train("whole", *self.overrides)

        for after in (5, 14, 23):
            self.assertEqual(self.interrupt("killed", signal.SIGKILL, after), -signal.SIGKILL)
            self.assertLess(len(self.log("killed")), STEPS)
        self.train("killed", *self.overrides)
        self.assert_same_end("whole", "killed")
        self.assertEqual(list((self.folder / "killed").glob("epoch_*.tmp.*")), [])

        self.assertEqual(self.interrupt("stopped", signal.SIGTERM, 7), 128 + signal.SIGTERM)
        stopped_at = self.log("stopped")[-1]["step"]
        self.assertLess(stopped_at, STEPS - 1)
        latest = (self.folder / "stopped" / "LATEST").resolve().name
        self.assertTrue(latest.endswith(f"_step_{stopped_at}"), latest)
        validated = [record["step"] for record in self.log("stopped", "validation.jsonl")]
        self.assertEqual(validated, list(range(stopped_at)), "the last one is left to the next run")
        self.train("stopped", *self.overrides)
        self.assert_same_end("whole", "stopped")


if __name__ == "__main__":
    unittest.main()
