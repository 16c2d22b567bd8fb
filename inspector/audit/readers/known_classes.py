"""Classes and functions that checkpoints honestly hold, by the package that they come from: a table.

What stands here was read: building one, or calling it, starts no program, imports nothing by name, writes nothing. A
name that is not here is code (scipy's distributions run their own state, pandas' HDFStore opens files, subprocess
handlers begin with a capital letter as well). scikit-learn 1.9, scipy 1.17, NumPy 2.4, pandas 3.1, PyTorch 2.9,
transformers 5, Lightning 2.5, omegaconf 2.3, and the older places of the same names.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_SKLEARN: Final = """
    ARDRegression AbsoluteError AdaBoostClassifier AdaBoostRegressor AdamOptimizer AdditiveChi2Sampler
    AffinityPropagation AgglomerativeClustering BaggingClassifier BaggingRegressor BallTree BallTree32 BallTree64
    BaseBagging BaseCrossValidator BaseDecisionTree BaseDistancesReduction32 BaseDistancesReduction64 BaseEnsemble
    BaseEstimator BaseForest BaseGradientBoosting BaseGraphicalLasso BaseHistGradientBoosting BaseLabelPropagation
    BaseLibSVM BaseLink BaseLoss BaseMixture BaseMultilayerPerceptron BaseOptimizer BaseRandomProjection BaseSGD
    BaseSGDClassifier BaseSGDRegressor BaseSVC BaseSearchCV BaseShuffleSplit BaseSpectral BaseSuccessiveHalving
    BaseThresholdClassifier BaseWeightBoosting BayesianGaussianMixture BayesianRidge BernoulliNB BernoulliRBM
    BestSparseSplitter BestSplitter Binarizer BinaryCrossEntropy BinaryTree BinaryTree32 BinaryTree64 BinomialDeviance
    Birch BisectingKMeans BrayCurtisDistance32 BrayCurtisDistance64 Bunch CCA CalibratedClassifierCV
    CanberraDistance32 CanberraDistance64 CategoricalCrossEntropy CategoricalEncoder CategoricalNB ChebyshevDistance
    ChebyshevDistance32 ChebyshevDistance64 CheckingClassifier ClassicalMDS Classification ClassificationCriterion
    ClassifierChain ColumnTransformer ComplementNB CompoundKernel ConstantKernel CountVectorizer Criterion
    CyAbsoluteError CyExponentialLoss CyHalfBinomialLoss CyHalfGammaLoss CyHalfMultinomialLoss CyHalfPoissonLoss
    CyHalfSquaredError CyHalfTweedieLoss CyHalfTweedieLossIdentity CyHuberLoss CyLossFunction CyPinballLoss DBSCAN
    DecisionTreeClassifier DecisionTreeRegressor DeprecationDict DiceDistance32 DiceDistance64 DictVectorizer
    DictionaryLearning DistanceMetric DistanceMetric32 DistanceMetric64 DotProduct DummyClassifier DummyRegressor
    ElasticNet ElasticNetCV EllipticEnvelope EmpiricalCovariance Entropy EpsilonInsensitive EuclideanDistance
    EuclideanDistance32 EuclideanDistance64 ExpSineSquared ExponentialLoss Exponentiation ExtraTreeClassifier
    ExtraTreeRegressor ExtraTreesClassifier ExtraTreesRegressor FactorAnalysis FastICA FeatureAgglomeration
    FeatureHasher FeatureUnion FixedThresholdClassifier ForestClassifier ForestRegressor FrozenEstimator
    FunctionTransformer GMM GammaRegressor GaussianMixture GaussianNB GaussianProcessClassifier
    GaussianProcessRegressor GaussianRandomProjection GenericUnivariateSelect Gini GradientBoostingClassifier
    GradientBoostingRegressor GraphicalLasso GraphicalLassoCV GridSearchCV GroupKFold GroupShuffleSplit HDBSCAN
    HalfBinomialLoss HalfGammaLoss HalfLogitLink HalfMultinomialLoss HalfPoissonLoss HalfSquaredError HalfTweedieLoss
    HalfTweedieLossIdentity HalvingGridSearchCV HalvingRandomSearchCV HammingDistance32 HammingDistance64
    HashingVectorizer HaversineDistance32 HaversineDistance64 Hinge HistGradientBoostingClassifier
    HistGradientBoostingRegressor Huber HuberLoss HuberLossFunction HuberRegressor Hyperparameter IdentityLink Imputer
    IncrementalPCA IntFloatDict Interval IsolationForest Isomap IsotonicRegression IterativeImputer JaccardDistance32
    JaccardDistance64 KBinsDiscretizer KDTree KDTree32 KDTree64 KFold KMeans KNNImputer KNeighborsClassifier
    KNeighborsRegressor KNeighborsTransformer Kernel KernelCenterer KernelDensity KernelOperator KernelPCA KernelRidge
    KulsinskiDistance32 KulsinskiDistance64 LDA LabelBinarizer LabelEncoder LabelPropagation LabelSpreading Lars
    LarsCV Lasso LassoCV LassoLars LassoLarsCV LassoLarsIC LatentDirichletAllocation LeastAbsoluteError LeastSquares
    LeastSquaresError LeaveOneGroupOut LeaveOneOut LeavePGroupsOut LeavePOut LedoitWolf LinearDiscriminantAnalysis
    LinearModel LinearModelCV LinearRegression LinearSVC LinearSVR LocalOutlierFactor LocallyLinearEmbedding Log
    LogLink LogOddsEstimator LogisticRegression LogisticRegressionCV LogitLink MAE MDS MLPClassifier MLPRegressor MSE
    MahalanobisDistance32 MahalanobisDistance64 ManhattanDistance ManhattanDistance32 ManhattanDistance64
    MatchingDistance32 MatchingDistance64 Matern MaxAbsScaler MeanEstimator MeanShift MetadataRequest MetadataRouter
    MethodMapping MethodMetadataRequest MethodPair MinCovDet MinMaxScaler MiniBatchDictionaryLearning MiniBatchKMeans
    MiniBatchNMF MiniBatchSparsePCA MinkowskiDistance MinkowskiDistance32 MinkowskiDistance64 MissingIndicator
    ModifiedHuber MultiLabelBinarizer MultiOutputClassifier MultiOutputLinearModel MultiOutputRegressor
    MultiTaskElasticNet MultiTaskElasticNetCV MultiTaskLasso MultiTaskLassoCV MultinomialDeviance MultinomialLogit
    MultinomialNB NMF NearestCentroid NearestNeighbors NeighborhoodComponentsAnalysis NeighborsBase NeighborsHeap32
    NeighborsHeap64 NoSampleWeightWrapper NodeHeap Normalizer NuSVC NuSVR Nystroem OAS OPTICS OneClassSVM
    OneHotEncoder OneVsOneClassifier OneVsRestClassifier OrdinalEncoder OrthogonalMatchingPursuit
    OrthogonalMatchingPursuitCV OutputCodeClassifier PCA PLSCanonical PLSRegression PLSSVD PairwiseKernel
    PassiveAggressiveClassifier PassiveAggressiveRegressor PatchExtractor Perceptron PinballLoss Pipeline Poisson
    PoissonRegressor PolynomialCountSketch PolynomialFeatures PowerTransformer PredefinedSplit
    PriorProbabilityEstimator Product QDA QuadraticDiscriminantAnalysis QuantileEstimator QuantileLossFunction
    QuantileRegressor QuantileTransformer RANSACRegressor RBF RBFSampler RFE RFECV RadiusNeighborsClassifier
    RadiusNeighborsRegressor RadiusNeighborsTransformer RandomForestClassifier RandomForestRegressor
    RandomSparseSplitter RandomSplitter RandomTreesEmbedding RandomizedPCA RandomizedSearchCV RationalQuadratic
    Regression RegressionCriterion RegressorChain RepeatedKFold RepeatedStratifiedKFold RequestMethod Ridge RidgeCV
    RidgeClassifier RidgeClassifierCV RobustScaler RogersTanimotoDistance32 RogersTanimotoDistance64 RouterMappingPair
    RussellRaoDistance32 RussellRaoDistance64 SEuclideanDistance32 SEuclideanDistance64 SGDClassifier SGDOneClassSVM
    SGDOptimizer SGDRegressor SVC SVR ScaledLogOddsEstimator SelectFdr SelectFpr SelectFromModel SelectFwe SelectKBest
    SelectPercentile SelfTrainingClassifier SequentialFeatureSelector ShrunkCovariance ShuffleSplit SimpleImputer
    SkewedChi2Sampler SokalMichenerDistance32 SokalMichenerDistance64 SokalSneathDistance32 SokalSneathDistance64
    SparseCoder SparsePCA SparseRandomProjection SpectralBiclustering SpectralClustering SpectralCoclustering
    SpectralEmbedding SplineTransformer Splitter SquaredEpsilonInsensitive SquaredHinge SquaredLoss StackingClassifier
    StackingRegressor StandardScaler StratifiedGroupKFold StratifiedKFold StratifiedShuffleSplit Sum TSNE
    TargetEncoder TfidfTransformer TfidfVectorizer TheilSenRegressor TimeSeriesSplit TransformedTargetRegressor Tree
    TreePredictor TreeUnionFind TruncatedSVD TunedThresholdClassifierCV TweedieRegressor UnionFind VarianceThreshold
    VotingClassifier VotingRegressor WeightedEdge WhiteKernel ZeroEstimator _AlphaPruner _BinMapper
    _BinaryGaussianProcessClassifierLaplace _BisectingTree _CCPPruneController _CFNode _CFSubcluster
    _CVIterableWrapper _CalibratedClassifier _ConstantPredictor _CurveScorer _DecisionScorer _DeepCopyWarning
    _GeneralizedLinearRegressor _IdentityClassifier _IdentityRegressor _IsotonicCalibration _MetadataRequester
    _MultiOutputEstimator _MultimetricScorer _PLS _PassthroughScorer _PathFinder _PredictScorer _ProbaScorer
    _RemainderColsList _RepeatedSplits _RidgeGCV _Scorer _SigmoidCalibration _TemperatureScaling _TfidfVectorizer
    _ThresholdScorer
    """
_SKLEARN_FUNCTIONS: Final = """
    _kmeans_single_lloyd _passthrough_scorer accuracy_score adjusted_mutual_info_score adjusted_rand_score
    auc average_precision_score balanced_accuracy_score brier_score_loss calinski_harabasz_score
    chi2 chi2_kernel class_likelihood_ratios classification_report cohen_kappa_score completeness_score
    confusion_matrix confusion_matrix_at_thresholds consensus_score cosine_similarity coverage_error
    d2_absolute_error_score d2_brier_score d2_log_loss_score d2_pinball_score d2_tweedie_score davies_bouldin_score
    dcg_score det_curve euclidean_distances explained_variance_score f1_score f_classif f_oneway f_regression
    fbeta_score fowlkes_mallows_score hamming_loss hinge_loss homogeneity_completeness_v_measure homogeneity_score
    jaccard_score label_ranking_average_precision_score label_ranking_loss laplacian_kernel linear_kernel log_loss
    matthews_corrcoef max_error mean_absolute_error mean_absolute_percentage_error mean_gamma_deviance
    mean_pinball_loss mean_poisson_deviance mean_squared_error mean_squared_log_error mean_tweedie_deviance
    median_absolute_error metric_at_thresholds multilabel_confusion_matrix mutual_info_classif mutual_info_regression
    mutual_info_score nan_euclidean_distances ndcg_score newObj normalized_mutual_info_score pair_confusion_matrix
    pairwise_distances pairwise_distances_argmin pairwise_distances_argmin_min pairwise_distances_chunked
    pairwise_kernels polynomial_kernel precision_recall_curve precision_recall_fscore_support precision_score r2_score
    r_regression rand_score rbf_kernel recall_score roc_auc_score roc_curve root_mean_squared_error
    root_mean_squared_log_error sigmoid_kernel silhouette_samples silhouette_score top_k_accuracy_score
    v_measure_score zero_one_loss
    """
_SCIPY: Final = """
    bsr_array bsr_matrix coo_array coo_matrix csc_array csc_matrix csr_array csr_matrix dia_array dia_matrix dok_array
    dok_matrix lil_array lil_matrix BSpline PPoly CubicSpline Akima1DInterpolator PchipInterpolator interp1d
    InterpolatedUnivariateSpline UnivariateSpline LSQUnivariateSpline RegularGridInterpolator cKDTree KDTree Delaunay
    Rotation asarray
    """
_PANDAS: Final = """
    DataFrame Series Index RangeIndex MultiIndex CategoricalIndex DatetimeIndex TimedeltaIndex PeriodIndex
    IntervalIndex Int64Index UInt64Index Float64Index NumericIndex BlockManager SingleBlockManager Categorical
    CategoricalDtype StringDtype Int8Dtype Int16Dtype Int32Dtype Int64Dtype UInt8Dtype UInt16Dtype UInt32Dtype
    UInt64Dtype Float32Dtype Float64Dtype BooleanDtype PeriodDtype IntervalDtype DatetimeTZDtype ArrowDtype
    DatetimeArray TimedeltaArray PeriodArray StringArray ArrowStringArray IntegerArray FloatingArray BooleanArray
    IntervalArray PandasArray NumpyExtensionArray SparseArray SparseDtype FrozenList Timestamp Timedelta Period
    Interval NaTType NAType _new_Index _new_DatetimeIndex _new_PeriodIndex _unpickle_block _unpickle_timestamp
    _timedelta_unpickle _nat_unpickle _period_unpickle new_block
    """
_NUMPY: Final = """
    ndarray dtype generic matrix record recarray MaskedArray chararray void bool_ bool int8 int16 int32 int64 uint8
    uint16 uint32 uint64 float16 float32 float64 float128 longdouble complex64 complex128 complex256 clongdouble str_
    bytes_ unicode_ string_ object_ datetime64 timedelta64 intc intp longlong ulonglong uintc uintp half single double
    _reconstruct scalar _frombuffer _mareconstruct _mrreconstruct _ufunc_reconstruct __randomstate_ctor
    __generator_ctor __bit_generator_ctor RandomState Generator MT19937 PCG64 PCG64DXSM Philox SFC64 SeedSequence
    """
_NUMPY_CALLS: Final = """
    absolute add all amax amin any arange arccos arcsin arctan arctan2 argmax argmin argsort around asarray average
    cbrt ceil clip concatenate conj conjugate cos cosh count_nonzero cumprod cumsum deg2rad diff divide dot equal exp
    exp2 expm1 fabs float_power floor floor_divide fmax fmin greater greater_equal hstack hypot invert isfinite isinf
    isnan less less_equal log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor matmul max
    maximum mean median min minimum mod multiply nan_to_num nanmax nanmean nanmedian nanmin nanstd nansum nanvar
    negative not_equal ones percentile positive power prod ptp quantile rad2deg ravel reciprocal remainder reshape
    rint round sign sin sinh sqrt square squeeze stack std subtract sum tan tanh transpose true_divide trunc unique
    var vstack where zeros
    """
# Whole models are pickled with the classes of their modules (torch/nn/modules/__init__.py).
_TORCH_NN: Final = """
    Module Sequential ModuleList ModuleDict ParameterList ParameterDict Container Identity Linear Bilinear LazyLinear
    NonDynamicallyQuantizableLinear Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d LazyConv1d
    LazyConv2d LazyConv3d Threshold ReLU Hardtanh ReLU6 Sigmoid Tanh Softmax Softmax2d LogSoftmax ELU SELU CELU GLU
    GELU Hardshrink LeakyReLU LogSigmoid Softplus Softshrink MultiheadAttention PReLU Softsign Softmin Tanhshrink
    RReLU Hardsigmoid Hardswish SiLU Mish L1Loss NLLLoss KLDivLoss MSELoss BCELoss BCEWithLogitsLoss NLLLoss2d
    PoissonNLLLoss CosineEmbeddingLoss CTCLoss HingeEmbeddingLoss MarginRankingLoss MultiLabelMarginLoss
    MultiLabelSoftMarginLoss MultiMarginLoss SmoothL1Loss HuberLoss GaussianNLLLoss SoftMarginLoss CrossEntropyLoss
    TripletMarginLoss TripletMarginWithDistanceLoss AvgPool1d AvgPool2d AvgPool3d MaxPool1d MaxPool2d MaxPool3d
    MaxUnpool1d MaxUnpool2d MaxUnpool3d FractionalMaxPool2d FractionalMaxPool3d LPPool1d LPPool2d LPPool3d
    AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d
    BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d LayerNorm RMSNorm
    GroupNorm LocalResponseNorm CrossMapLRN2d Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout
    ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d ZeroPad1d
    ZeroPad2d ZeroPad3d ConstantPad1d ConstantPad2d ConstantPad3d CircularPad1d CircularPad2d CircularPad3d Embedding
    EmbeddingBag RNNBase RNN LSTM GRU RNNCellBase RNNCell LSTMCell GRUCell PixelShuffle PixelUnshuffle Upsample
    UpsamplingNearest2d UpsamplingBilinear2d PairwiseDistance CosineSimilarity AdaptiveLogSoftmaxWithLoss
    TransformerEncoder TransformerDecoder TransformerEncoderLayer TransformerDecoderLayer Transformer Flatten
    Unflatten Fold Unfold ChannelShuffle Parameter Buffer UninitializedParameter DataParallel DistributedDataParallel
    """
_TORCH_ACTIVATIONS: Final = """
    relu relu_ relu6 gelu silu mish elu selu celu glu leaky_relu prelu rrelu sigmoid logsigmoid tanh hardtanh hardswish
    hardsigmoid softplus softsign softmax log_softmax softmin tanhshrink hardshrink softshrink threshold
    """
_TORCH_OPTIM: Final = """
    ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax LBFGS Muon NAdam Optimizer RAdam RMSprop Rprop SGD SparseAdam
    ChainedScheduler ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR ExponentialLR LRScheduler
    LambdaLR LinearLR MultiStepLR MultiplicativeLR OneCycleLR PolynomialLR ReduceLROnPlateau SequentialLR StepLR
    _LRScheduler AveragedModel SWALR GradScaler
    """
_TORCH_DISTRIBUTED: Final = """
    ShardedTensor ShardedTensorMetadata ShardMetadata Shard TensorProperties ChunkShardingSpec EnumerableShardingSpec
    DTensor DTensorSpec TensorMeta DeviceMesh Replicate Partial _Partial Metadata TensorStorageMetadata
    BytesStorageMetadata ChunkStorageMetadata MetadataIndex _StorageInfo StorageMeta MEM_FORMAT_ENCODING ShardingSpec
    _remote_device
    """
_TRANSFORMERS: Final = """
    TrainingArguments Seq2SeqTrainingArguments IntervalStrategy SchedulerType OptimizerNames HubStrategy SaveStrategy
    EvaluationStrategy LoggingStrategy FSDPOption ParallelMode AcceleratorConfig ShardedDDPOption BatchEncoding
    HfDeepSpeedConfig HfTrainerDeepSpeedConfig GenerationConfig PretrainedConfig PreTrainedConfig TrainerState
    BitsAndBytesConfig GPTQConfig AwqConfig QuantizationMethod ExplicitEnum SaveStrategies DebugOption
    TensorType PaddingStrategy TruncationStrategy AddedToken
    """
_TRAINERS: Final = """
    SFTConfig DPOConfig PPOConfig GRPOConfig KTOConfig ORPOConfig CPOConfig RLOOConfig RewardConfig OnlineDPOConfig
    GKDConfig XPOConfig NashMDConfig BCOConfig IterativeSFTConfig AlignPropConfig DDPOConfig PRMConfig FDivergenceType
    FDivergenceConstants LoraConfig LoraRuntimeConfig PeftType TaskType PeftConfig PromptTuningConfig
    PrefixTuningConfig IA3Config AdaLoraConfig LoHaConfig LoKrConfig LoftQConfig OFTConfig BOFTConfig PromptTuningInit
    SentenceTransformerTrainingArguments BatchSamplers MultiDatasetBatchSamplers CrossEncoderTrainingArguments
    SparseEncoderTrainingArguments SimilarityFunction
    DistributedType PrecisionType DynamoBackend RNGType SageMakerDistributedType ComputeEnvironment DeepSpeedPlugin
    FullyShardedDataParallelPlugin GradientAccumulationPlugin TorchDynamoPlugin DataLoaderConfiguration
    DistributedDataParallelKwargs KwargsHandler ProjectConfiguration PartialState AcceleratorState GradientState
    DeepSpeedZeroConfig DeepSpeedConfig LossScaler DynamicLossScaler ZeroStageEnum fragment_address
    tensor_fragment AttributeDict ModelCheckpoint EarlyStopping LearningRateMonitor GradientAccumulationScheduler
    StochasticWeightAveraging RichProgressBar TQDMProgressBar ModelSummary RichModelSummary Timer ModelPruning
    LambdaCallback OnExceptionCheckpoint MeanMetric SumMetric MaxMetric MinMetric Accuracy BinaryAccuracy
    MulticlassAccuracy MultilabelAccuracy F1Score Precision Recall AUROC AverageMeter FP16OptimizerCompat
    """
_OMEGACONF: Final = """
    DictConfig ListConfig ContainerMetadata Metadata AnyNode StringNode IntegerNode FloatNode BooleanNode BytesNode
    PathNode EnumNode InterpolationResultNode UnionNode Node Container Box SCMode
    """
_BOOSTING: Final = """
    XGBClassifier XGBRegressor XGBRanker XGBRFClassifier XGBRFRegressor XGBModel Booster LGBMClassifier LGBMRegressor
    LGBMRanker LGBMModel CatBoostClassifier CatBoostRegressor CatBoost CatBoostRanker
    """
_WORDS: Final = {
    "sklearn": _SKLEARN + _SKLEARN_FUNCTIONS, "scipy": _SCIPY, "pandas": _PANDAS, "numpy": _NUMPY + _NUMPY_CALLS,
    "transformers": _TRANSFORMERS, "trl": _TRAINERS, "peft": _TRAINERS, "accelerate": _TRAINERS,
    "deepspeed": _TRAINERS, "pytorch_lightning": _TRAINERS, "lightning": _TRAINERS, "lightning_fabric": _TRAINERS,
    "torchmetrics": _TRAINERS, "sentence_transformers": _TRAINERS, "omegaconf": _OMEGACONF, "xgboost": _BOOSTING,
    "lightgbm": _BOOSTING, "catboost": _BOOSTING, "tokenizers": "Tokenizer Encoding AddedToken",
    "dill": "_create_array",
}  # fmt: skip
# Package → names: the class is the same wherever in its package it is looked up.
KNOWN: Final = {package: frozenset(words.split()) for package, words in _WORDS.items()}
# The same for parts of PyTorch, most of which is no class of a model.
KNOWN_MODULES: Final = (
    ("torch.nn.modules.", frozenset(_TORCH_NN.split())), ("torch.nn.parallel.", frozenset(_TORCH_NN.split())),
    ("torch.nn.parameter", frozenset(_TORCH_NN.split())), ("torch.ao.nn.", frozenset(_TORCH_NN.split())),
    ("torch.nn.quantized.", frozenset(_TORCH_NN.split())), ("torch.nn.qat.", frozenset(_TORCH_NN.split())),
    ("torch.nn.functional", frozenset(_TORCH_ACTIVATIONS.split())), ("torch._C._nn", frozenset({"gelu"})),
    ("torch.optim.", frozenset(_TORCH_OPTIM.split())), ("torch.cuda.amp.", frozenset({"GradScaler"})),
    ("torch.amp.", frozenset({"GradScaler"})), ("torch.distributed.", frozenset(_TORCH_DISTRIBUTED.split())),
)  # fmt: skip
# The compiled parts of these packages unpickle by functions of their own, which build one class each.
CYTHON: Final = frozenset({"sklearn", "scipy", "pandas", "numpy"})
# What is in these tables to be named, as an activation or a score, and that no pickler calls: called while a pickle is
# loaded, `_passthrough_scorer` calls a method of anything and `ones` sets any memory aside.
_ONLY_NAMED: Final = {
    "sklearn": frozenset(_SKLEARN_FUNCTIONS.split()) - {"newObj"}, "numpy": frozenset(_NUMPY_CALLS.split()),
}  # fmt: skip


def is_only_named(package: str, name: str) -> bool:
    """Whether this is a function that an honest pickle names and does not call."""
    return name in (_ONLY_NAMED.get(package) or ())
