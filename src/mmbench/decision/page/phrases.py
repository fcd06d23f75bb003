"""Everything that the decision page can say, by what it is about; who says it when is the speaker's."""

from __future__ import annotations

from mmbench.decision import Action
from mmbench.decision.assumptions import Given
from mmbench.decision.economics import Source
from mmbench.decision.evidence import Bars, Status
from mmbench.decision.rule import Confidence, Why
from mmbench.decision.steps import FEW_TRIALS, ONE_SEED, RUNGS, WAITING
from mmbench.inference.gains import NoWord
from mmbench.inference.verdicts import Verdict
from mmbench.messages import Message, Template

BADGES = {
    Action.GO: Message("GO"),
    Action.PARTIAL: Message("GO (partial)"),
    Action.HOLD: Message("HOLD"),
    Action.NO_GO: Message("NO-GO"),
}
#: The same where the answer rests on numbers that nobody in the company gave.
BADGES_IF = {
    Action.GO: Message("GO if these assumptions hold"),
    Action.PARTIAL: Message("GO (partial) if these assumptions hold"),
}
ACTIONS = {
    Action.GO: Template("Recommendation: add images."),
    Action.PARTIAL: Template("Recommendation: add images for a part of the items only: {part}."),
    Action.HOLD: Template("Recommendation: do not decide yet."),
    Action.NO_GO: Template("Recommendation: do not invest in images now."),
}
#: Why it is HOLD, where that is known.
REASONS = {
    Why.UNTRUSTED: Message(
        "The measurement does not reach the standard, so nothing is decided. This does not mean that images have no "
        "effect."
    ),
    Why.BARRED_GO: Message(
        "The measured gain would pay, but a check that it needs has not been passed. This does not mean that images "
        "have no effect."
    ),
    Why.BARRED_NO_GO: Message(
        "As measured the gain is too small to pay, but a check that this conclusion needs has not been passed. This "
        "does not mean that images have no effect."
    ),
}
#: Why nothing may be concluded from the gain, but for one of new items, which lacks a price alone.
SILENCES = {
    RUNGS: Message("trials were cut short"),
    WAITING: Message("conditions, splits or groups of new items that are planned have no result"),
    FEW_TRIALS: Message("too few trials"),
    ONE_SEED: Message("one training run only, so training noise was not measured"),
    NoWord.MORE_SEARCH: Message("without controls the side with images was searched more"),
    NoWord.FEW_TRIALS: Message("too few trials"),
    NoWord.FEW_SUCCESSES: Message("too many trials failed"),
    NoWord.NOTHING_FOUND: Message("a side finds nothing"),
    NoWord.FEW_USERS: Message("too few test users"),
    NoWord.SEED_UNKNOWN: Message("one training run only, so training noise was not measured"),
    NoWord.NOTHING_WITHOUT: Message("everything rests on a single trial"),
    NoWord.ONE_TRIAL: Message("everything rests on a single trial"),
    NoWord.WIDE: Message("the range is wider than a factor of two"),
    NoWord.NO_VARIANCE: Message("users and trials do not vary"),
    NoWord.ONE_FOLD: Message("only one group of new items was tested"),
}
#: Why a gain has no price, by what it is one of.
UNPRICED = {
    "cold": Message(
        "The gain was measured in lists of new items alone. What share of all recommendations new items are is not "
        "known, so no sum of money belongs to it. For money, run the sweep on all items: without dataset.protocol=cold "
        "and without tuning.target."
    ),
    "harmonic": Message(
        "The gain is one in a harmonic mean that counts new items as much as all others. What share of all "
        "recommendations new items are is not known, so no sum of money belongs to it. For money, run the sweep on all "
        "items: without dataset.protocol=cold and without tuning.target."
    ),
}
#: Such a gain against the break-even line, by what it is one of.
BESIDE_NEED = {
    "cold": Template("Measured for new items: {mean}; the break-even line ({need}) is one of all recommendations."),
    "harmonic": Template(
        "Measured in a harmonic mean of new and of other items: {mean}; the break-even line ({need}) is one of all "
        "recommendations."
    ),
}
#: Verdicts with the break-even gain as the smallest gain of interest. A range beyond zero shows a gain or a loss; on
#: which side of break-even it lies, the verdict knows of the measured one alone.
WORDS = {
    Verdict.DEPENDS_ON_TUNING: Message("depends on tuning"),
    Verdict.BETTER: Message("a gain is shown; as measured it reaches break-even"),
    Verdict.BETTER_SMALL: Message("a gain is shown; as measured it is less than break-even"),
    Verdict.EQUIVALENT: Message("any difference is smaller than break-even"),
    Verdict.WORSE: Message("a loss is shown; as measured it is break-even or more"),
    Verdict.WORSE_SMALL: Message("a loss is shown; as measured it is less than break-even"),
    Verdict.UNDECIDED: Message("neither a difference nor its absence is shown"),
}
#: The same where the whole range lies on that side.
WHOLLY = {
    Verdict.EQUIVALENT: Message("a loss is shown, and it is smaller than break-even"),
    Verdict.BETTER: Message("a gain of break-even or more is shown"),
    Verdict.BETTER_SMALL: Message("a gain is shown, and it is less than break-even"),
    Verdict.WORSE: Message("a loss of break-even or more is shown"),
}
#: Metrics of the order of a list.
OF_ORDER = ("ndcg", "mrr", "map")
#: What a metric measures, by its name; one of somebody's own has no words here.
QUALITIES = {
    **dict.fromkeys(OF_ORDER, Template("the quality of the order")),
    "recall": Template("the share of purchases that are among the first {k}"),
    "precision": Template("the share of the first {k} recommendations that were bought"),
    "hr": Template("the share of customers with a purchase among the first {k}"),
}
OWN_QUALITY = Template("the chosen metric")
#: The same for the list of words.
METRICS = {
    **dict.fromkeys(
        OF_ORDER, Template("{metric}: quality of the order of the first {k} recommendations, 1 is perfect.")
    ),
    "recall": Template(
        "{metric}: share of a customer's purchases in the test that are among the first {k} recommendations."
    ),
    "precision": Template("{metric}: share of the first {k} recommendations that the customer bought in the test."),
    "hr": Template("{metric}: share of customers who bought one of their first {k} recommendations in the test."),
}
#: How many of the calculated cases; other languages count them.
CASES = Template("{n}", context="calculated cases")
#: How likely it pays where a gate bars the answer or a part is to be measured; below, where nothing does, and where the
#: answer is NO-GO.
BARRED = {
    Why.PROMISING: Template(
        "With images for all items it would pay for itself within {years} in {n} of 100 calculated cases."
    ),
    Why.BARRED_GO: Template(
        "Unclear: as measured it would pay for itself within {years} in {n} of 100 calculated cases, but a "
        "check that this answer needs has not been passed."
    ),
    Why.BARRED_NO_GO: Template(
        "Unclear: as measured it would pay for itself within {years} in {n} of 100 calculated cases, but a check "
        "that this conclusion needs has not been passed."
    ),
}
TO_PAY = {
    Confidence.VERY_LIKELY: Template("Very likely: in {n} of 100 calculated cases it pays for itself within {years}."),
    Confidence.LIKELY: Template("Likely: in {n} of 100 calculated cases it pays for itself within {years}."),
    Confidence.UNCLEAR: Template("Unclear: in {n} of 100 calculated cases it would pay for itself within {years}."),
}
NOT_TO_PAY = TO_PAY | {
    Confidence.VERY_LIKELY: Template(
        "Very likely not to pay: it would pay for itself within {years} in {n} of 100 calculated cases."
    ),
    Confidence.LIKELY: Template(
        "Likely not to pay: it would pay for itself within {years} in {n} of 100 calculated cases."
    ),
}
TAX = {"excluded": Message("All amounts exclude tax."), "included": Message("All amounts include tax.")}
STEPS = {
    "repair": Message("Repeat the comparison with equal effort."),
    "baseline": Message("Add a simple baseline, tuned like the other models."),
    "model": Message("Change the model before buying data."),
    "trials": Message("Tune with more trials."),
    "control": Message("Run the missing conditions."),
    "images": Message("Add images for a pilot of some items."),
    "encoder": Message("Try a second image encoder."),
    "ensemble": Message("Average the lists of a model with images and of one without (late ensemble)."),
    "users": Message("Use a longer log with more users."),
    "seeds": Message("Repeat the training with more seeds."),
    "ab_test": Message("Run an A/B test."),
    "partial": Message("Measure images for some of the items alone."),
    "all_items": Message("Run the sweep on all items."),
    "data": Message("Make the data readable again."),
    "nothing": Message(
        "Leave everything as it is: on average no measurement is worth its cost. Decide again when the sums or the "
        "data change."
    ),
    "finish": Message("Go on with the sweep until all that is planned has run."),
    "roll_out": Message("Introduce step by step, with an A/B test that can be stopped."),
}
#: What is repeated, by why nothing may be concluded; above, where effort was unequal.
REPAIRS = {
    RUNGS: Message("Repeat the comparison without rungs."),
    NoWord.FEW_SUCCESSES: Message("Find out why trials failed, and run them again."),
    NoWord.ONE_FOLD: Message("Run the other groups of new items too."),
}
#: The same where the share of what is shown that has an image is not known.
COUNTED = Message("Run the final runs again so that their lists are kept.")
STATUSES = {
    Status.PASS: ("pass", Message("✓ passed")),
    Status.FAIL: ("fail", Message("✗ not passed")),
    Status.UNKNOWN: ("unknown", Message("? not known")),
}
BARS = {
    Bars.EVERY: Message("needed for every answer"),
    Bars.GO: Message("needed for GO"),
    Bars.NO_GO: Message("needed for NO-GO"),
}
#: What a gate asks, and what was found.
QUESTIONS = {
    "G1": Message("Was the effort equal?"),
    "G2": Message("Is a simple baseline among the models?"),
    "G3": Message("Does the gain come from the images?"),
    "G4": Message("Does nothing else get worse?"),
    "G5": Message("Do enough items have images?"),
    "G6": Message("Were several image encoders tried?"),
    "G7": Message("Could a gain at break-even have been seen?"),
    "G8": Message("Is all the signal of the images used?"),
    "G9": Message("Do other trials and the chosen configurations agree?"),
}
ANSWERS = {
    "G1": {
        Status.PASS: Template("All conditions were tuned with the same effort on the same split."),
        Status.FAIL: Template(
            "The conditions were not treated alike or not trained to the end, see the fairness report."
        ),
        Status.UNKNOWN: Template("There is no fairness report."),
    },
    "G2": {
        Status.PASS: Template("Simple baselines among the models: {value}."),
        Status.FAIL: Template("No tuned simple baseline was run."),
        Status.UNKNOWN: Template("Nobody looked for simple baselines."),
    },
    "G3": {
        Status.PASS: Template("Better than with shuffled images; the 90 % range is {lo} to {hi}."),
        Status.FAIL: Template("Not shown to be better than with shuffled images; the 90 % range is {lo} to {hi}."),
        Status.UNKNOWN: Template(
            "Not every condition with images was also run with shuffled images and without images."
        ),
    },
    "G4": {
        Status.PASS: Template("What was looked at loses no more than {margin}: {holding}."),
        Status.FAIL: Template("More than {margin} is lost: {broken}."),
        Status.UNKNOWN: Template("A loss of more than {margin} is not ruled out: {open}."),
    },
    "G5": {
        Status.PASS: Template("{value} of what is shown has an image; {limit} is needed."),
        Status.FAIL: Template("Only {value} of what is shown has an image; {limit} is needed."),
        Status.UNKNOWN: Template("How much of what is shown has an image could not be counted."),
    },
    "G6": {
        Status.PASS: Template("{value} image encoders were tried."),
        Status.FAIL: Template("Only one image encoder was tried; another may see more."),
        Status.UNKNOWN: Template("The records do not say which image features were used."),
    },
    "G7": {
        Status.PASS: Template(
            "A true gain of {value} would be seen in four of five such studies, one at break-even ({limit}) at least "
            "as often."
        ),
        Status.FAIL: Template(
            "A true gain of {value} would be seen in four of five such studies, one at break-even ({limit}) less often."
        ),
        Status.UNKNOWN: Template("Without a range it is not known how often a gain at break-even would be seen."),
    },
    "G8": {
        Status.PASS: Template(
            "What only images tell about purchases ({value}) is no more than what counts as chance ({limit})."
        ),
        Status.FAIL: Template(
            "Images tell something about purchases ({value}; up to {limit} counts as chance); that information may not "
            "be used yet."
        ),
        Status.UNKNOWN: Template("The signal in the images was not measured."),
    },
    "G9": {
        Status.PASS: Template("The chosen configurations ({value}, range {lo} to {hi}) do not say the opposite."),
        Status.FAIL: Template("The chosen configurations ({value}, range {lo} to {hi}) say the opposite."),
        Status.UNKNOWN: Template("The chosen configurations could not be compared over several training runs."),
    },
}
#: The same of G3 without bounds, of G4 where nothing was measured, of G5 where a part of the items has images, and of
#: G7 where nothing varies.
NO_RANGE = Template("Not shown to be better than with shuffled images; the gain has no range.")
NO_WIDTH = Template("The range of the gain has no width; break-even is {limit}.")
NO_RAILS = Template("No guard-rail could be measured.")
#: The same where the reason is known.
NOT_KNOWN = {
    "G4": Template("No guard-rail could be measured: {reason}."),
    "G5": Template("How much of what is shown has an image could not be counted: {reason}."),
    "G8": Template("The signal in the images was not measured: {reason}."),
}
NOT_MEASURED = Template("Not measured: {rails}.")
OF_PART = {
    Status.PASS: Template("{value} of the shown items of the part have an image; {limit} are needed."),
    Status.FAIL: Template("Only {value} of the shown items of the part have an image; {limit} are needed."),
    Status.UNKNOWN: ANSWERS["G5"][Status.UNKNOWN],
}
#: Guard-rails as the facts name them.
RAIL_NAMES = {
    "coverage": Message("breadth of what is shown (coverage)"),
    "tail share": Message("rarely bought items (long tail)"),
    "cold recall": Message("new items found"),
    "recall of items without image": Message("items without an image found"),
}
#: The same of G9 where it is the number of trials that says something else.
DEPENDS = Template("With more or fewer trials the gain would be another: it depends on tuning.")
#: What NO-GO and G7 say besides at a later look at the test split, whose ranges are wider.
AT_95 = Message("This is judged by the 95 % range, however often the test results had been looked at before.")
#: What opens a gate, by the gate where it is nothing that can be counted, else by what is counted.
OPEN_ELSE = {
    "": Template("What is missing is named above; no number of users or trials alone brings it."),
    "G1": Template(
        "{gate} opens when every condition is tuned alike and trained to its end: raise budget.max_steps where "
        "trainings were cut off, budget.patience_steps where they stalled; the fairness report says where."
    ),
    "G4": Template("{gate} opens with a model whose guard-rails are measured and hold."),
    "G5": Template("{gate} opens when enough of what is shown has an image."),
    "G8": Template("{gate} opens when a model or an ensemble uses what images tell."),
    "G9": Template("{gate} opens once something can be concluded from the gain."),
}
OPEN_DATA = Template("{gate} can be answered once the data can be read.")
OPEN_USERS = Template("{gate} opens with about {users} test users (now {now}), if the gain stays as it was measured.")
OPEN_RAILS = Template(
    "{gate} opens with {times} times as many test users (about {users}, now {now}) and final training runs, if the "
    "guard-rails stay as they were measured."
)
OPEN_NO_USERS = Template(
    "{gate} stays closed however many users there are: {share} of the uncertainty does not come from which customers "
    "were tested."
)
#: The same where it does not lie in what else is uncertain.
OPEN_NEVER = Template("{gate} stays closed however many users there are.")
OPEN_TRIALS = {
    "G2": Template(
        "{gate} opens with a simple baseline that is tuned with {n} trial, as all others are.",
        "{gate} opens with a simple baseline that is tuned with {n} trials, as all others are.",
    ),
    "G3": Template(
        "{gate} opens with the missing conditions, {n} trial each.",
        "{gate} opens with the missing conditions, {n} trials each.",
    ),
    "G6": Template("{gate} opens with a second image encoder, {n} trials for each condition."),
    "G9": Template("{gate} opens where {n} trials for each condition agree (budget.trials={n})."),
    "": Template("It takes at least {n} trials for each condition (budget.trials={n})."),
}
OPEN_SEEDS = {
    "G9": Template("{gate} opens with at least {n} final training runs (budget.seeds={n})."),
    "": Template("It takes at least {n} final training runs (budget.seeds={n})."),
}
OPEN_FEW_USERS = Template("It takes at least {users} test users (now {now}).")
TELL_USERS = Template(
    "About {users} test users (now {now}) would tell the gain from break-even, if it stays as it was measured."
)
TELL_NO_USERS = Template(
    "More users narrow the range, but no number of them takes break-even out of it if the gain stays as it was "
    "measured: {share} of the uncertainty does not come from which customers were tested."
)
#: The same where all of the uncertainty lies in something else, and where none does.
TELL_NOT_BY_USERS = Template(
    "No number of users takes break-even out of the range if the gain stays as it was measured: {share} of the "
    "uncertainty does not come from which customers were tested."
)
TELL_NEVER = Template(
    "More users narrow the range, but no number of them takes break-even out of it if the gain stays as it was "
    "measured."
)
#: What makes a gain sure enough whose range lies on one side of break-even.
SURE_BY_USERS = Template(
    "About {users} test users (now {now}) would make it sure enough, if the gain stays as it was measured."
)
NOT_SURE_BY_USERS = Template(
    "No number of users makes it sure enough if the gain stays as it was measured: {share} of the uncertainty does not "
    "come from which customers were tested."
)
#: Where no trial that can be drawn makes use of images.
TELL_ELSE = Template(
    "No number of users or trials would tell: whichever of the trials are drawn, the best configuration makes no use "
    "of images. Another model or image encoder may use them."
)
TELL_INPUTS = Template("Better figures of the business would tell, above all: {name}.")
#: Why it is HOLD where the gain lies above (True) or below break-even, and the business decides.
CLEAR_OF_NEED = {
    True: Template(
        "The gain ({range}) is above the {need} that pays at the likely values of the business, but these are too "
        "uncertain to decide, above all: {name}."
    ),
    False: Template(
        "The gain ({range}) is below the {need} that pays at the likely values of the business, but these are too "
        "uncertain to decide, above all: {name}."
    ),
}
#: The same where the company asks for more than the range shows.
NOT_SURE_OF_NEED = {
    True: Template(
        "The gain ({range}) is above the {need} that pays at the likely values of the business, but not surely enough: "
        "for GO, the probability that images pay is to be at least {asked}."
    ),
    False: Template(
        "The gain ({range}) is below the {need} that pays at the likely values of the business, but not surely enough: "
        "for NO-GO, the probability that images pay is to be at most {asked}."
    ),
}
#: The same where it is no range, and what pays is the gain itself.
EVEN = Template(
    "As measured, images would neither earn nor lose anything: the gain ({gain}) is just what pays at the likely "
    "values of the business ({need})."
)
#: What a range comes from.
RANGE_SOURCES = {
    "trials": Message("which trials were drawn"),
    "users": Message("which customers were tested"),
    "seed": Message("training noise"),
    "splits": Message("how the data were split"),
    "folds": Message("how far the groups of new items differ"),
}
OPEN_WIDTH = Template("The range has to become narrower: {share} of the uncertainty comes from {source}.")
OPEN_UNCOUNTED = Template("{gate} can be answered once it can be counted how much of what is shown has an image.")
#: When the company gave its sums.
SUMS = {
    Given.BEFORE: Template(
        "Your sums were last changed on {changed}, before the sweep was planned ({planned}), as the time of the file "
        "says."
    ),
    Given.AFTER: Template(
        "Your sums were last changed on {changed}, after the sweep was planned ({planned}): the results may have been "
        "known, as the time of the file says."
    ),
    Given.NEVER: Template("You gave no sums of your own: those of the default file are assumed."),
    Given.UNKNOWN: Template("Whether your sums were given before or after the results is not known."),
}
#: Where a number of the business comes from.
SOURCES = {
    Source.OWN: Message("given"),
    Source.DATA: Message("from the data"),
    Source.OPINION: Message("an opinion"),
    Source.ASSUMED: Message("assumed"),
}
#: What a control came to that was run and has no result.
CONTROL_FAILED = Template(
    "The control with shuffled images failed once: {reason}.",
    "The control with shuffled images failed {n} times: {reason}.",
)
#: Inputs by dotted key, and what else a decision rests on.
INPUT_NAMES = {
    "value.recommendations_year": Message("recommended items shown per year"),
    "value.conversion": Message("share of shown items that are bought"),
    "value.order_value": Message("value of an item bought"),
    "value.margin": Message("contribution margin"),
    "transfer": Message("offline-to-online factor"),
    "items.stock": Message("items in the catalogue"),
    "items.new_year": Message("new items per year"),
    "items.with_images": Message("items that have usable images"),
    "items.target": Message("items that are to have images"),
    "cost.image": Message("cost of one image (photograph, rights, cleaning)"),
    "cost.encoding": Message("computing one embedding"),
    "cost.kilobytes": Message("kilobytes of one embedding"),
    "cost.gigabyte_month": Message("storing one gigabyte per month"),
    "cost.serving_year": Message("serving per year"),
    "cost.engineering_once": Message("one-off engineering"),
    "cost.engineers": Message("people who keep it running"),
    "cost.engineer_year": Message("yearly cost of one such person"),
    "gain": Message("measured gain"),
    "years": Message("horizon in years"),
    "discount": Message("discount rate"),
    "go": Message("probability of paying from which the answer is GO"),
    "no_go": Message("probability of paying up to which the answer may be NO-GO"),
}
#: Thresholds that are easier to reach than those of the package.
ASKED = {
    "go": Template("GO is asked for from a probability of {own} on; the default is {usual}."),
    "no_go": Template("NO-GO is asked for up to a probability of {own}; the default is {usual}."),
}
MODALITIES = {"text": Message("text"), "image": Message("image"), "audio": Message("audio")}
#: Divisions of items and users, as the report begins the names of their slices.
DIVISIONS = {
    "item's training interactions": Template("earlier purchases of the item: {part}"),
    "user's training interactions": Template("earlier purchases of the user: {part}"),
    "category": Template("category {part}"),
    "text length": Template("text: {part}"),
}
LENGTHS = {"short": Message("short"), "medium": Message("medium"), "long": Message("long")}
#: Gates whose numbers are shares of what is shown, gains, and counts; all others are scores.
SHARES, GAINS, COUNTS = {"G5"}, {"G3", "G7", "G9"}, {"G2", "G6"}
#: Inputs in the currency, and inputs that are shares.
MONEY = {"value.order_value", "cost.image", "cost.encoding", "cost.gigabyte_month", "cost.serving_year",
         "cost.engineering_once", "cost.engineer_year"}  # fmt: skip
#: What other inputs count, where a language says it beside the number, and from where on a count is a large one.
UNITS = {
    "value.recommendations_year": Template("{n}", context="recommendations"),
    "items.stock": Template("{n}", context="items"),
    "items.new_year": Template("{n}", context="items"),
    "cost.engineers": Template("{n}", context="people"),
}
MANY = 1e6
PERCENT = {"value.conversion", "value.margin", "items.with_images", "items.target"}
