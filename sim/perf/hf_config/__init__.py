"""From a Hugging Face ``config.json`` to a ``ModelSpec``.

``read`` finds the language model in the file and its row in the table of model types (``model_types``); ``layers`` asks
which kind each layer is (``kinds``), what its attention (``attention``), recurrent state (``recurrent``) and feed-forward
part (``feed_forward``) are, and in which number type each part is stored (``number_types``); equal layers make a group.
Beside them stand ``towers`` and the longest sequence (``length``). Every value passes ``facts``, which names the key of
whatever is not what it should be.
"""

from sim.perf.hf_config.read import model_from_data, model_from_facts, model_from_hf_config

__all__ = ["model_from_data", "model_from_facts", "model_from_hf_config"]
