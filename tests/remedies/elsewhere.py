"""Errors whose remedy is followed by a test outside this folder, and those that tell nobody what to do.

A row: the function that makes the error (dotted), a piece of its text with ``{}`` for what is filled in, and the test
that follows it, or for ``INTERNAL`` why nobody is told to do anything.
"""

from __future__ import annotations

_ANALOG = "tests/mapping/test_remedies.py::"
_FIXED = "tests/backends/loihi/test_remedies.py::"
_STEPS = "tests/backends/loihi/test_step_remedies.py::"
_HERE = "tests/remedies/test_mapping.py::"

ELSEWHERE: tuple[tuple[str, str, str], ...] = (
    ("_check_features", "build the layer with reset={}", _ANALOG + "test_features_that_a_target_lacks_are_left_out_as_said"),
    ("_check_features", "build the layer with max_spikes=None", _ANALOG + "test_features_that_a_target_lacks_are_left_out_as_said"),
    ("_check_delay", "build Dense without delay", _ANALOG + "test_features_that_a_target_lacks_are_left_out_as_said"),
    ("_check_delay", "shorten delays to {} s", _ANALOG + "test_a_float32_delay_is_shortened_to_what_is_named"),
    ("_check_range", "move {} to {} {}{}", _ANALOG + "test_a_value_out_of_range_moves_to_the_value_that_is_named"),
    ("placement.place", "remove {} neurons from it", _ANALOG + "test_neurons_that_do_not_fit_are_removed_or_unmasked_as_said"),
    ("_all_zero", "remove the layer, or train it until a weight is not zero", _FIXED + "test_other_refusals_name_what_works"),
    ("_headroom", "allowed: a finite number >= 1", _FIXED + "test_a_headroom_that_is_none_is_refused"),
    ("_check_start", "build the layer with v_reset = v_leak", _FIXED + "test_other_refusals_name_what_works"),
    ("limits.check_features", "build the layer with t_ref=0", _FIXED + "test_other_refusals_name_what_works"),
    ("headrooms", "give one for each, or one for all", _FIXED + "test_headrooms_of_another_number_of_layers_are_refused"),
    ("check_wraps", "what follows is not the network's answer", _FIXED + "test_a_current_that_wraps_names_an_opening_that_runs"),
    ("spide_codes", "a quantum of {} or more", _STEPS + "test_the_quantum_that_is_named_fits"),
    ("spide_codes", "one hidden population, wide enough", _STEPS + "test_the_refractory_time_and_several_hidden_populations_are_mended_as_said"),
    ("spikegrad_codes", "raise theta to {} or more", _STEPS + "test_the_theta_that_is_named_fits"),
    ("hm2bp_layer", "build LeakyNeurons with t_ref=0", _STEPS + "test_the_refractory_time_and_several_hidden_populations_are_mended_as_said"),
    ("step_codes.decay", "a power of two, e.g. {}", _STEPS + "test_a_decay_is_mended_by_the_power_of_two_that_is_named"),
    ("SoftDevice._counts", "multiply the weights before it by {} or less", _HERE + "test_sums_that_would_wrap_are_made_smaller_by_the_factor_that_is_printed"),
    ("_Attached.backward", "call backward() first", "tests/rules/test_contract.py::test_weights_put_in_anothers_place_do_not_change_the_gradient_of_those_that_ran"),
    ("unless_complete", "{}; {}", "tests/calibration/test_apply.py::test_where_putting_back_fails_too_the_device_has_no_calibration_and_the_error_says_so"),
    ("Worker.ask", "of which this one is a fork; open the target here", "tests/backends/lava/test_faults.py::test_a_fork_of_the_host_starts_a_worker_of_its_own"),
    ("EmulatorDevice._check_open", "open it here, or choose its noise with seek(session, batch)", "tests/backends/emulator/test_sessions.py::test_a_chip_opened_before_the_fork_is_refused_in_the_child_until_it_is_opened_there_or_sought"),
    ("extent.check_covers", "Calibrate for this program: hwloop.calibrate(device, program), or the whole chip", "tests/calibration/test_extent.py::test_a_twin_a_sentinel_and_an_upkeep_refuse_a_program_beyond_the_calibration"),
    ("_check_calibrated", "calibrate for this network: hwloop.calibrate(device, hwloop.compile(net, device.target)), or the whole chip", "tests/calibration/test_extent.py::test_a_network_that_needs_neurons_beyond_the_calibration_is_refused_until_they_are_calibrated"),
    ("_deviate_graph", "build it of LIF", "tests/calibration/test_twin_of_graphs.py::test_what_is_calibrated_for_current_based_neurons_alone_says_so"),
)  # fmt: skip

_WRAPPED = "its text becomes part of an error that says what to do"
_UNREACHABLE = "no caller gets here: what would lead here is refused before"

INTERNAL: tuple[tuple[str, str, str], ...] = (
    ("hwloop.__getattr__", "module {} has no attribute {}", "Python's own wording, for hasattr and tab completion"),
    ("Dataset.__getitem__", "sample {} of {}", "ends an iteration by index, as Python's protocol has it"),
    ("Loss.__call__", "give it a __call__", "followed in test_networks.py; a TypeError, for whoever writes a class"),
    ("checkpoint._unpack_state", "a tensor holds inf or NaN", _WRAPPED),
    ("download.fetch", "more than {} bytes", _WRAPPED),
    ("named_values", "{} tensors for {} weights", _WRAPPED),
    ("preset_entries.check_effect", "is unknown; known", "an unknown effect is found by its key first, with the near one"),
    ("StepNetwork.forward", "returned a {} for a network that runs in steps", "for whoever writes a rule"),
    ("Run.restore_best", "no epoch was run", _UNREACHABLE),
    ("LayerCall.spikes", "the layer has not run", _UNREACHABLE),
    ("LoihiDevice._execute", "call load(program) first", _UNREACHABLE),
    ("SoftDevice._rates", "lower the norm of the feedback", "a feedback of norm 2 cannot wrap below 16,384 neurons"),
    ("SoftDevice.__init__", "open it on 'loihi', whose stock layers carry", "said by lava alone, which needs lava-nc to be opened"),
    ("convolution.call._check", "a batch of no samples", "Spikes refuses such a batch first"),
    ("SpikingConvolution.forward", "a call without a geometry", _UNREACHABLE),
    ("SpikingComponent.forward", "{}: {}", "the engine's own error, which says what to do, behind the component's name"),
    ("component_call", "the component has not run", _UNREACHABLE),
    ("JointCall.low_of_neurons", "the component has not run", _UNREACHABLE),
    ("JointCall.residuals", "the component has not run", _UNREACHABLE),
    ("joint.autograd._count", "the component has not run", _UNREACHABLE),
    ("Unit._let_go", "a neuron is let go that has not fired", _UNREACHABLE),
    ("Core.weight", "no weights", _UNREACHABLE),
    ("Runner._layer", "the layer's kernel takes LIF", _UNREACHABLE),
    ("Runner._convolution", "a convolution into LIF", _UNREACHABLE),
    ("running._core", "neither a matrix nor a convolution", _UNREACHABLE),
    ("Chip._membranes_of", "did not run", _UNREACHABLE),
    ("step_codes._other", "the neurons of one rule", _UNREACHABLE),
    ("self_test", "it has to be without", "a fault of the recipe, not of its user"),
    ("worker.protocol.encode", "{}", _WRAPPED),
    ("worker.protocol.receive", "{}", _WRAPPED),
    ("worker.protocol._header", "a header", _WRAPPED),
    ("worker.protocol._description", "describes no array", _WRAPPED),
    ("worker.serve._answer", "request {}; allowed: run, ping", _WRAPPED),
)  # fmt: skip
