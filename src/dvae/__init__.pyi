# What `import dvae` offers. dvae/__init__.py reads it: each name is imported when it is first used.
from .analysis.divergence import kl_divergence_knn as kl_divergence_knn
from .analysis.scores import disentanglement_score as disentanglement_score
from .analysis.shape import shape_score as shape_score
from .errors import DataError as DataError
from .errors import DeviceError as DeviceError
from .errors import DvaeError as DvaeError
from .errors import ResultError as ResultError
from .errors import UnknownNameError as UnknownNameError
from .loading import load_result as load_result
from .models import VAE as VAE
from .models import DenseVAE as DenseVAE
from .models import GaussianPrior as GaussianPrior
from .models import HierarchicalPrior as HierarchicalPrior
from .models import MixturePrior as MixturePrior
from .models import PodBasis as PodBasis
from .models import PodVAE as PodVAE
from .models import count_parameters as count_parameters
from .models import load_model as load_model
from .models import make_prior as make_prior
from .models import save_model as save_model
from .physics import DarcyDataset as DarcyDataset
from .physics import FieldDataset as FieldDataset
from .physics import KarhunenLoeve as KarhunenLoeve
from .physics import factor_distribution as factor_distribution
from .physics import solve_darcy as solve_darcy
from .physics import well_source as well_source
from .runner import run_experiment as run_experiment
from .training import Ensemble as Ensemble
from .training import Fit as Fit
from .training import Labels as Labels
from .training import Recipe as Recipe
from .training import fit as fit
from .training import make_recipe as make_recipe

__version__: str
