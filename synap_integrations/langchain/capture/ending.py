"""How a turn ends: which of a root's outputs is the answer, and what is left to record before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synap_integrations.langchain import graph, messages
from synap_integrations.langchain.capture import steps, translate
from synap_integrations.langchain.capture.translate import Ending
from synap_integrations.plain import plain

if TYPE_CHECKING:
    from synap_integrations.langchain.capture.roots import Root


def of_outputs(root: Root, outputs: object) -> None:
    """The root came to its end: results not recorded yet, words on the way, the answer."""
    if root.interrupted:
        _record_questions(root)
        return
    if root.is_frame:
        root.record_failed_calls()
        root.record_answer(root.candidate_answer or "")
        return
    ended = translate.ending_of(outputs, root.options.output_key)
    if ended.messages:
        pseudo = _pseudo_tool(root, ended)
        _record_the_way(root, ended, pseudo)
        root.record_results_from(ended.messages, pseudo=pseudo)
        _record_open_calls(root, ended, pseudo)
    root.record_failed_calls()
    root.conversation.unanswered = []
    if (cut := _cut_off(root, outputs)) is not None:
        if root.options.partial_answers:
            root.record_answer(cut, incomplete=True)
        return
    root.record_answer(_answer(root, ended, outputs) or "")


def of_failure(root: Root, error: BaseException) -> None:
    """The root failed, was cancelled or closed: what had been shown by then is an incomplete answer."""
    if graph.is_interrupt(error):
        root.interrupted = True
        _record_questions(root)
        return
    root.record_failed_calls()
    shown = _shown(root, error)
    if not shown.strip():
        if root.user_words:
            root.conversation.unanswered = [hash(text) for text in root.user_words]
    elif root.options.partial_answers:
        root.record_answer(shown, incomplete=True)


def _record_questions(root: Root) -> None:
    root.conversation.unanswered = []
    if root.options.interrupts:
        for question in root.conversation.new_questions(root.questions):
            root.record_answer(question)


def _shown(root: Root, error: BaseException) -> str:
    """The text that had been streamed when the root failed."""
    model = root.last_model
    if model is not None and model.tokens and (model.failed or not model.ended):
        return model.streamed()
    if not isinstance(error, Exception) and root.answer_was_streamed:
        # The consumer went away while the rest of the answer was drained.
        return root.candidate_answer or ""
    return ""


def _cut_off(root: Root, outputs: object) -> str | None:
    """The streamed text, if the consumer closed the stream: the root ends, its model has not.

    Source: langchain_core 1.7.2, runnables/base.py, _transform_stream_with_config
    """
    model = root.last_model
    if model is None or model.ended or not model.tokens:
        return None
    streamed = model.streamed()
    return streamed if streamed.startswith(translate.legible(outputs) if outputs else "") else None


def _pseudo_tool(root: Root, ended: Ending) -> str | None:
    """The name of the tool through which the model gave a structured answer; it never runs.

    Source: langchain 1.4.7, agents/structured_output.py, ToolStrategy
    """
    if ended.structured is None:
        return None
    name, fields = type(ended.structured).__name__, plain(ended.structured)
    for call in root.conversation.calls.open.values():
        if not call.started and (call.name == name or plain(call.args) == fields):
            return call.name
    return name


def _record_the_way(root: Root, ended: Ending, pseudo: str | None) -> None:
    """Words of the assistant before its answer that no model run reported, as in a hand-over between agents."""
    for message in ended.messages[:-1]:
        if messages.role_of(message) == "assistant":
            known = [root.conversation.calls.get(request.id) for request in steps.calls_of(message)]
            if not any(known):
                root.record_narration(messages.text_of(message))
        else:
            root.record_results_from((message,), pseudo=pseudo)


def _record_open_calls(root: Root, ended: Ending, pseudo: str | None) -> None:
    """Tool calls as the last word: the application runs those tools itself."""
    calls = root.conversation.calls
    for request in steps.calls_of(ended.messages[-1]):
        call = calls.get(request.id)
        if call is None and request.id:
            call = calls.declare(request.id, request.name, request.args)
        if call is not None and not call.answered and call.name != pseudo:
            root.record_tool_call(call)


def _answer(root: Root, ended: Ending, outputs: object) -> str | None:
    if ended.answer is not None:
        return ended.answer
    if ended.structured is not None:
        return translate.as_json(ended.structured)
    if ended.silent:
        return None
    if _is_structured(root, outputs):
        return translate.as_json(outputs)
    text, certain = translate.answer_in_fields(outputs, inputs=root.input_names, said=root.user_words)
    if root.candidate_answer and (text is None or not certain):
        return root.candidate_answer
    return text


def _is_structured(root: Root, outputs: object) -> bool:
    """True if the output is what the model wrote as JSON, in a tool call that never ran or in its text."""
    if outputs is None or isinstance(outputs, str):
        return False
    fields = plain(outputs)
    calls = root.conversation.calls
    for call in calls.open.values():
        if not call.recorded and plain(call.args) == fields:
            calls.answer(call)
            return True
    written = root.candidate_answer or ""
    return isinstance(outputs, dict) and "{" in written and translate.json_in(written) == fields
