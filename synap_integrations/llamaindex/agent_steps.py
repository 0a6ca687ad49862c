"""What the steps of an agent's workflow say: who began, which tools were called, what came back, what was thought.

Source: llama_index.core 0.12.52 to 0.14.25, agent/workflow; workflows 1.3 to 2.26
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from llama_index.core.agent.react.types import ActionReasoningStep, ResponseReasoningStep
from llama_index.core.agent.workflow.workflow_events import AgentOutput, AgentWorkflowStartEvent
from llama_index.core.agent.workflow.workflow_events import ToolCall as ToolCallEvent
from llama_index.core.agent.workflow.workflow_events import ToolCallResult as ToolResultEvent
from llama_index.core.tools.types import BaseTool, ToolOutput
from llama_index.core.workflow import StopEvent

from synap_integrations.llamaindex import human, identity, translate
from synap_integrations.model import Thinking, ToolCall, ToolResult, UserMessage, new_id
from synap_integrations.plain import text

if TYPE_CHECKING:
    from synap_integrations.llamaindex.turns import Turn

_IMPLICIT: Final = "(Implicit)"


def start_of(arguments: Mapping[str, object]) -> AgentWorkflowStartEvent | None:
    """The event an agent's run starts with; None if the run continues an earlier one."""
    inner = arguments.get("kwargs")
    for carrier in (arguments, inner if isinstance(inner, Mapping) else {}):
        if isinstance(start := carrier.get("start_event"), AgentWorkflowStartEvent):
            return start
    return None


def user_in(start: object) -> UserMessage | None:
    """What the user said to begin the run; None if it is no beginning, or nothing was said."""
    if not isinstance(start, AgentWorkflowStartEvent):
        return None
    said = start.get("user_msg") or translate.last_user_message(start.get("chat_history") or [])
    return translate.user_message(said)


def answer_of(result: object) -> str | None:
    """The answer in what an agent's run gave back."""
    if isinstance(result, StopEvent):
        result = result.result
    if isinstance(result, AgentOutput):
        return translate.text_of(result.response)
    return None if result is None else str(result)


def begun(turn: Turn, arguments: Mapping[str, object]) -> None:
    """An agent's first step: it carries what was said, and up to workflows 2.13 the Context that later runs may use."""
    identity.inherit(arguments.get("ctx"), turn)
    if turn.user is None and (said := user_in(arguments.get("ev"))) is not None:
        turn.user = said
        turn.say(said)


def tool_called(turn: Turn, span_id: str, arguments: Mapping[str, object], instance: object) -> None:
    """A tool is called; one that was waited for is not told again."""
    event = arguments.get("ev")
    if isinstance(event, ToolCallEvent):
        if event.tool_id and (call := turn.waiting.pop(event.tool_id, None)):
            turn.calls[span_id] = call
            return
        call_id = event.tool_id or f"call-{new_id()}"
        call = ToolCall(event.tool_name, translate.arguments_of(event.tool_kwargs), call_id)
    elif isinstance(instance, BaseTool):
        given = arguments.get("kwargs") or arguments.get("input") or arguments.get("args")
        call = ToolCall(instance.metadata.get_name(), translate.arguments_of(given), f"call-{new_id()}")
    else:
        return
    turn.calls[span_id] = call
    if not turn.resumed:
        turn.say(call)


def tool_returned(turn: Turn, span_id: str, result: object) -> None:
    """A tool's span has ended: with its result, or to wait for a human."""
    call = turn.calls.pop(span_id)
    output = result.tool_output if isinstance(result, ToolResultEvent) else result
    if isinstance(output, ToolOutput):
        human.over(turn, call.tool_call_id)
        turn.say(translate.tool_result(call.tool_name, call.tool_call_id, output))
    else:
        turn.waiting[call.tool_call_id] = call


def tool_failed(turn: Turn, span_id: str, error: BaseException | None) -> None:
    """A tool's span has ended with an exception."""
    call = turn.calls.pop(span_id)
    if type(error).__name__ == "WaitingForEvent":  # how workflows 2.9 to 2.15 leave a step that waits for a human
        turn.waiting[call.tool_call_id] = call
    elif not isinstance(error, asyncio.CancelledError):
        human.over(turn, call.tool_call_id)
        turn.say(ToolResult(call.tool_name, text(str(error)), call.tool_call_id, is_error=True))


def step_returned(turn: Turn, result: object) -> None:
    """Reasoning, and text beside tool calls, as the steps of an agent give them."""
    if isinstance(result, AgentOutput):
        turn.unfinished, turn.resumed = None, False
        if thinking := translate.thinking_of(result.response):
            turn.say(Thinking(thinking, thought_type=translate.REASONING))
        beside = translate.text_of(result.response)
        if result.tool_calls and beside.strip() and translate.answer_in(beside):
            turn.say(Thinking(beside, thought_type=translate.NARRATION))
    elif isinstance(result, ActionReasoningStep | ResponseReasoningStep):
        thought = "" if result.thought.startswith(_IMPLICIT) else result.thought
        if thought.strip():
            turn.say(Thinking(text(thought), thought_type=translate.REASONING))
